package translate

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// A pod found an add-on's object of the remote cluster under the name of its own, and
// did not start.
func TestDisplaced(t *testing.T) {
	local := filledPod(1)
	local.Spec.EphemeralContainers = nil // Update translates them
	site := siteOf(testMapper(), local.Namespace)
	needs := site.NeedsOf(local)
	if len(needs.ConfigMaps) == 0 || len(needs.Secrets) == 0 {
		t.Fatalf("the pod refers to nothing: %v", needs)
	}
	all := Displaced{ConfigMaps: set(needs.ConfigMaps), Secrets: set(needs.Secrets)}
	spec := *local.Spec.DeepCopy()
	all.rename().pod(&spec)
	found := collect(&corev1.Pod{Spec: spec})
	for _, names := range []map[string]bool{found.configMaps, found.secrets} {
		for name := range names {
			if !strings.HasPrefix(name, contract.ReservedPrefix) {
				t.Errorf("a reference to %s is left", name)
			}
		}
	}
	if len(found.configMaps) != len(needs.ConfigMaps) || len(found.secrets) != len(needs.Secrets) {
		t.Errorf("references are %v and %v, want as many as in %v", found.configMaps, found.secrets, needs)
	}
}

func set(names []string) map[string]bool {
	all := map[string]bool{}
	for _, name := range names {
		all[name] = true
	}
	return all
}
