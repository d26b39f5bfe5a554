package check

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// remoteNamespace is one that the akd of a node of some local cluster has made.
func remoteNamespace(cluster, local string) *corev1.Namespace {
	namespace := namespace(contract.RemoteNamespace("vk", local), local)
	namespace.Labels[contract.LabelClusterUID] = cluster
	return namespace
}

// A thief of akd's credential can write the record: a fix that was proposed for what
// it names would have weakened kube-system.
func TestRecordIsNotBelieved(t *testing.T) {
	t.Parallel()
	own := contract.RemoteNamespace("vk", "shop")
	record := configMap(contract.RecordName("vk"), own, "shop")
	record.Data["kube-system"] = "shop"
	unlabelled := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system"}}
	mislabelled := remoteNamespace("here", "shop")
	mislabelled.Name = "theirs"
	s := subject(
		[]runtime.Object{served("vk"), akd("vk"), configured("vk", "")},
		[]runtime.Object{record, unlabelled, mislabelled, remoteNamespace("here", "shop"), remoteNamespace("elsewhere", "blog")})
	node, _ := findNode(t.Context(), s)
	if len(node.Namespaces) != 1 || node.Namespaces[own] != "shop" {
		t.Errorf("the node's namespaces are %v, want %s alone", node.Namespaces, own)
	}
	s.Node = node
	got := podSecurity(t.Context(), s)
	if strings.Contains(got.Found+got.Fix, "namespace kube-system") || strings.Contains(got.Fix, "theirs") {
		t.Errorf("a fix for what the record names: %+v", got)
	}
	expect(t, "it is a sign of theft", recordProved(t.Context(), s), LevelFailed,
		"ConfigMap actual-system/vk.namespaces of the remote cluster has 1 names that akd does not write: kube-system",
		"somebody else has used akd's credential: kubectl actual token rotate vk --revoke-all --remote-context=there\n"+
			"then take the names out of the record: kubectl actual install vk --remote-context=there")
	delete(s.Node.Record, "kube-system")
	expect(t, "as akd writes it", recordProved(t.Context(), s), LevelOK, "1 names", "")
}
