package contract

import "testing"

// What the policy namespaces.actual.vk refuses whatever a node was installed with, install
// refuses as well.
func TestIsReservedKey(t *testing.T) {
	for key, want := range map[string]bool{
		"team":                                         false,
		"kubernetes.io":                                false, // a name without a prefix
		"example.com/team":                             false,
		"app.kubernetes.io/name":                       false,
		"kueue.x-k8s.io/managed":                       false,
		"actual.vk/node-name":                          true,
		"sub.actual.vk/any":                            true,
		"kubernetes.io/metadata.name":                  true,
		"pod-security.kubernetes.io/enforce":           true,
		"Pod-Security.Kubernetes.io/enforce":           true,
		"scheduler.alpha.kubernetes.io/node-selector":  true,
		"scheduler.alpha.kubernetes.io/tolerations":    true,
		"api-approved.kubernetes.io.example.com/trick": false,
		"k8s.io/any":                                   true,
	} {
		if got := IsReservedKey(key); got != want {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
}
