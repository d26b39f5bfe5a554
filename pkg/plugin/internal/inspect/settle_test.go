package inspect

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// The name of a namespace can have the hash of another one's. A pod that had not
// started was shown in the namespace of that one.
func TestSettle(t *testing.T) {
	names := contract.RemoteNamespaces("vk", "shop")
	pod := func(annotations map[string]string) Location {
		return Locate(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", Annotations: annotations},
			Spec:       corev1.PodSpec{NodeName: "vk"},
		}, map[string]bool{"vk": true})
	}
	waiting, started := pod(nil), pod(map[string]string{contract.AnnotationRemoteNamespace: names[1]})
	serving := func(local string) *kubeclient.Cluster {
		return &kubeclient.Cluster{Side: kubeclient.Remote, Client: fake.NewClientset(&corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: names[0], Labels: map[string]string{contract.LabelNamespace: local}},
		})}
	}
	for name, tc := range map[string]struct {
		reason    string
		remote    *kubeclient.Cluster
		locations []Location
		want      string // of the first pod
	}{
		"Nothing known": {reason: "the first name is the usual one", locations: []Location{waiting}, want: names[0]},
		"Another pod":   {reason: "it has started in the second", locations: []Location{waiting, started}, want: names[1]},
		"Own":           {reason: "the first serves this namespace", remote: serving("shop"), locations: []Location{waiting}, want: names[0]},
		"Another's":     {reason: "the first serves another namespace", remote: serving("evil"), locations: []Location{waiting}, want: names[1]},
	} {
		t.Run(name, func(t *testing.T) {
			if err := settle(t.Context(), tc.remote, tc.locations); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, tc.locations[0].RemoteNamespace); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
