package install

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// Without its policy, an approver could approve any certificate of its signer.
func TestApproverNeedsPolicies(t *testing.T) {
	old := runtime.NewScheme()
	if err := corev1.AddToScheme(old); err != nil {
		t.Fatal(err)
	}
	local := &kubeclient.Cluster{Side: kubeclient.Local, Version: "v1.29.0", Mapper: testrestmapper.TestOnlyStaticRESTMapper(old)}
	err := checkLocalPolicies(local)
	if err == nil || !strings.Contains(strings.Join(failure.Hints(err), ""), "leave out --approve-certificates") {
		t.Errorf("without policies: %v", err)
	}
	local.Mapper = testrestmapper.TestOnlyStaticRESTMapper(scheme.Scheme)
	if err := checkLocalPolicies(local); err != nil {
		t.Errorf("with policies: %v", err)
	}
}

// A policy in the local cluster was the sign of an approver, until storage had some as well.
func TestHasApprover(t *testing.T) {
	i := &installer{options: &installOptions{nodeOptions: nodeOptions{node: "vk"}}}
	for account, want := range map[string]bool{"vk.approver": true, "other.approver": false} {
		i.both.Local = &kubeclient.Cluster{Side: kubeclient.Local, Client: fake.NewClientset(
			&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: contract.SystemNamespace, Name: account}})}
		if got, err := i.hasApprover(t.Context()); err != nil || got != want {
			t.Errorf("with %s: %t (%v), want %t", account, got, err, want)
		}
	}
}

// Rights that nobody asks for any more are taken back, and those of other nodes stay:
// the approver goes first, and its policy after its rights.
func TestRemoveApprover(t *testing.T) {
	var objects []runtime.Object
	for _, node := range []string{"vk", "other"} {
		rendered, err := manifests.Local(manifests.Values{Node: node, Image: "akd", ApproveCertificates: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range rendered {
			if object.GetKind() != "Namespace" {
				objects = append(objects, object)
			}
		}
	}
	client := dynamicfake.NewSimpleDynamicClient(scheme.Scheme, objects...)
	i := &installer{options: &installOptions{nodeOptions: nodeOptions{node: "vk"}}}
	i.both.Local = &kubeclient.Cluster{
		Side:    kubeclient.Local,
		Dynamic: client,
		Mapper:  testrestmapper.TestOnlyStaticRESTMapper(scheme.Scheme),
	}
	outcome, err := i.removeApprover(t.Context())
	if err != nil || outcome != "8 removed" {
		t.Errorf("%s, %v", outcome, err)
	}
	var deleted []string
	for _, action := range client.Actions() {
		if deletion, ok := action.(clienttesting.DeleteAction); ok {
			deleted = append(deleted, deletion.GetResource().Resource+" "+deletion.GetName())
		}
	}
	want := []string{
		"deployments vk.approver",
		"clusterrolebindings actual.vk:vk.approver",
		"clusterroles actual.vk:vk.approver",
		"rolebindings vk.approver",
		"roles vk.approver",
		"validatingadmissionpolicybindings approver.vk.actual.vk",
		"validatingadmissionpolicies approver.vk.actual.vk",
		"serviceaccounts vk.approver",
	}
	if diff := cmp.Diff(want, deleted); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if outcome, err := i.removeApprover(t.Context()); err != nil || outcome != "0 removed" {
		t.Errorf("again: %s, %v", outcome, err)
	}
}
