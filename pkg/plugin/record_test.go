package plugin

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// A node that had an administrator's kubeconfig has namespaces that no record
// names: a tenant's akd would leave them, and what runs there, alone forever.
func TestSeedRecord(t *testing.T) {
	t.Parallel()
	own, elsewhere := &translate.Mapper{Owner: contract.Owner{Node: "vk", ClusterUID: "here"}}, &translate.Mapper{Owner: contract.Owner{Node: "vk", ClusterUID: "elsewhere"}}
	name := contract.RecordName("vk")
	record := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: contract.SystemNamespace, Name: name},
		Data:       map[string]string{own.Namespace("known").Name: "known", "vk-0123456789abcdef": "gone"},
	}
	local := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: "here"}})
	remote := fake.NewClientset(record, own.Namespace("known"), own.Namespace("shop"), elsewhere.Namespace("theirs"),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "misnamed", Labels: map[string]string{contract.LabelNodeName: "vk", contract.LabelNamespace: "shop"}}})
	i := &install{both: clusters{local: &cluster{client: local}, remote: &cluster{client: remote}}}
	i.values.Node = "vk"
	for _, want := range []string{"1 added that akd had before", ""} {
		if got, err := i.seedRecord(t.Context()); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	got, err := remote.CoreV1().ConfigMaps(contract.SystemNamespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{own.Namespace("known").Name: "known", "vk-0123456789abcdef": "gone", own.Namespace("shop").Name: "shop"}
	if diff := cmp.Diff(want, got.Data); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}
