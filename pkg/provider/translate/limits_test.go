package translate_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		mapper translate.Mapper
		want   string
	}{
		"none": {
			reason: "the default",
			mapper: translate.Mapper{Owner: contract.Owner{Node: "ak"}},
			want:   "LimitRange: null\nNetworkPolicy: null\nResourceQuota: null\n",
		},
		"isolation": {
			reason: "everybody but other nodes' pods is named, because policies only add up",
			mapper: translate.Mapper{Owner: contract.Owner{Node: "ak"}, Isolate: true, AllowFrom: []string{"10.244.0.0/16"}},
			want: `LimitRange: null
NetworkPolicy:
  metadata:
    labels:
      actual.vk/cluster-uid: ""
      actual.vk/namespace: default
      actual.vk/node-name: ak
    name: actual-vk
    namespace: ak-dead4915c9c6c0d8
  spec:
    ingress:
    - from:
      - namespaceSelector:
          matchLabels:
            actual.vk/node-name: ak
      - namespaceSelector:
          matchExpressions:
          - key: actual.vk/node-name
            operator: DoesNotExist
      - ipBlock:
          cidr: 10.244.0.0/16
    podSelector: {}
    policyTypes:
    - Ingress
ResourceQuota: null
`,
		},
		"quota and range": {
			reason: "as the configuration has them",
			mapper: translate.Mapper{
				Owner:         contract.Owner{Node: "ak"},
				ResourceQuota: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("2")},
				LimitRange: []corev1.LimitRangeItem{
					{Type: corev1.LimitTypeContainer, DefaultRequest: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")}},
				},
			},
			want: `LimitRange:
  metadata:
    labels:
      actual.vk/cluster-uid: ""
      actual.vk/namespace: default
      actual.vk/node-name: ak
    name: actual-vk
    namespace: ak-dead4915c9c6c0d8
  spec:
    limits:
    - defaultRequest:
        cpu: 10m
      type: Container
NetworkPolicy: null
ResourceQuota:
  metadata:
    labels:
      actual.vk/cluster-uid: ""
      actual.vk/namespace: default
      actual.vk/node-name: ak
    name: actual-vk
    namespace: ak-dead4915c9c6c0d8
  spec:
    hard:
      pods: "2"
  status: {}
`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := yaml.Marshal(tc.mapper.In("ak-dead4915c9c6c0d8").Limits("default"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
