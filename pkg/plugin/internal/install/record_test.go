package install

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// remoteNamespace is one that an akd has made.
func remoteNamespace(owner contract.Owner, local string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:   contract.RemoteNamespace(owner.Node, local),
		Labels: owner.NamespaceLabels(local),
	}}
}

// A node that had an administrator's kubeconfig has namespaces that no record
// names: a tenant's akd would leave them, and what runs there, alone forever.
func TestSeedRecord(t *testing.T) {
	t.Parallel()
	own, elsewhere := contract.Owner{Node: "vk", ClusterUID: "here"}, contract.Owner{Node: "vk", ClusterUID: "elsewhere"}
	name := contract.RecordName("vk")
	known, shop := contract.RemoteNamespace("vk", "known"), contract.RemoteNamespace("vk", "shop")
	record := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: contract.SystemNamespace, Name: name},
		Data:       map[string]string{known: "known", contract.RemoteNamespace("vk", "gone"): "gone", "kube-system": "known"},
	}
	misnamed := remoteNamespace(own, "shop")
	misnamed.Name = "misnamed"
	remote := fake.NewClientset(record, misnamed,
		remoteNamespace(own, "known"), remoteNamespace(own, "shop"), remoteNamespace(elsewhere, "theirs"))
	i := &installer{
		options: &installOptions{nodeOptions: *options(nil)},
		both:    kubeclient.Clusters{Local: &kubeclient.Cluster{UID: "here"}, Remote: &kubeclient.Cluster{Client: remote}},
	}
	for _, want := range []string{
		"1 added; 1 removed that are not the node's, a sign that somebody else used akd's credential", "",
	} {
		if got, err := i.seedRecord(t.Context()); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	got, err := remote.CoreV1().ConfigMaps(contract.SystemNamespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{known: "known", contract.RemoteNamespace("vk", "gone"): "gone", shop: "shop"}
	if diff := cmp.Diff(want, got.Data); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}
