package install

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// akd may change no namespace: those that exist got none of the labels that an
// administrator listed later.
func TestMarkNamespaces(t *testing.T) {
	t.Parallel()
	own, elsewhere := contract.Owner{Node: "vk", ClusterUID: "here"}, contract.Owner{Node: "vk", ClusterUID: "elsewhere"}
	former := remoteNamespace(own, "shop")
	former.Labels["team"], former.Labels["stage"] = "admins", "test"
	former.Annotations = map[string]string{"example.com/kept": "x"}
	done := remoteNamespace(own, "done")
	done.Labels["team"], done.Annotations = "payments", map[string]string{"example.com/contact": "a, b"}
	ending := remoteNamespace(own, "ending")
	ending.DeletionTimestamp, ending.Finalizers = &metav1.Time{}, []string{"example.com/stays"}
	misnamed := remoteNamespace(own, "other")
	misnamed.Name = "misnamed"
	remote := fake.NewClientset(former, done, ending, misnamed, remoteNamespace(elsewhere, "theirs"))
	i := &installer{
		options: &installOptions{nodeOptions: *options(nil)},
		both:    kubeclient.Clusters{Local: &kubeclient.Cluster{UID: "here"}, Remote: &kubeclient.Cluster{Client: remote}},
		values: manifests.Values{NamespaceMetadata: manifests.NamespaceMetadata{
			Labels:      map[string]string{"team": "payments"},
			Annotations: map[string]string{"example.com/contact": "a, b"},
		}},
	}
	if outcome, err := i.markNamespaces(t.Context()); err != nil || outcome != "1 changed" {
		t.Errorf("%q, %v", outcome, err)
	}
	writes := 0
	for _, action := range remote.Actions() {
		if action.GetVerb() != "list" {
			writes++
		}
	}
	if writes != 1 {
		t.Errorf("%d writes, want one", writes)
	}
	got, err := remote.CoreV1().Namespaces().Get(t.Context(), former.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := own.NamespaceLabels("shop")
	want["team"], want["stage"] = "payments", "test"
	if diff := cmp.Diff(want, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"example.com/kept": "x", "example.com/contact": "a, b"}, got.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}
