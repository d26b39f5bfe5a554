package storage

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

const former = "former" // the UID of the local cluster whose place this one takes

// rebuilt are clusters of which the local one was built anew: the remote one has a volume of
// the former one's node.
func rebuilt(t *testing.T) kubeclient.Clusters {
	t.Helper()
	both := clusters(nil, nil)
	owner := contract.Owner{Node: node, ClusterUID: former}
	claim := remoteClaim(corev1.ClaimBound, func(c *corev1.PersistentVolumeClaim) { c.Labels = owner.Labels(shop, claimUID) })
	namespace := &corev1.Namespace{}
	namespace.Name, namespace.Labels = place(), owner.NamespaceLabels(shop)
	both.Remote.Client = fake.NewClientset(namespace, claim)
	return both
}

// A local cluster that was built anew was told that there are no volumes, and to give its
// node another name. Now it learns whose they are, and how it gets them.
func TestForeign(t *testing.T) {
	t.Parallel()
	for title, tc := range map[string]struct {
		reason string
		do     func(*testing.T, kubeclient.Clusters) error
		want   string
	}{
		"List": {
			reason: "the node's name is another cluster's",
			do: func(t *testing.T, both kubeclient.Clusters) error {
				t.Helper()
				return refuseForeignNode(t.Context(), both, node)
			},
			want: `node vk belongs to another local cluster in the remote one: to that with UID "former", which has 1 volume there`,
		},
		"Import": {
			reason: "the remote namespace is another cluster's",
			do: func(t *testing.T, both kubeclient.Clusters) error {
				t.Helper()
				e, _, _ := env(t, "")
				return (&importOptions{env: e, from: at()}).do(t.Context(), both)
			},
			want: `belongs to node vk of another local cluster: to that with UID "former"`,
		},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			both := rebuilt(t)
			err := tc.do(t, both)
			refuses(t, tc.reason, err, tc.want, both)
			if hints := strings.Join(failure.Hints(err), "\n"); !strings.Contains(hints, "install vk --take-over --storage=claims") {
				t.Errorf("%s: the hint is %q", tc.reason, hints)
			}
		})
	}
}

// Nothing is said of a node whose remote namespaces are its own, or hold no claims.
func TestNotForeign(t *testing.T) {
	t.Parallel()
	empty := rebuilt(t)
	if err := empty.Remote.Client.CoreV1().PersistentVolumeClaims(place()).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for reason, both := range map[string]kubeclient.Clusters{
		"own":                    clusters(nil, nil),
		"without claims":         empty,
		"without remote cluster": localOnly(rebuilt(t)),
	} {
		if err := refuseForeignNode(t.Context(), both, node); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
	}
}
