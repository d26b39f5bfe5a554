package contract

import "strings"

// IsReservedKey reports whether a key of labels or annotations is AK's or Kubernetes',
// so that no node's remote namespaces are installed with it: such keys say whose a
// namespace is, which Pod Security it enforces, and where its pods may run. Keys of
// app.kubernetes.io are meant for users, and have no such meaning.
// https://kubernetes.io/docs/reference/labels-annotations-taints/
func IsReservedKey(key string) bool {
	domain, _, prefixed := strings.Cut(strings.ToLower(key), "/")
	if !prefixed || domain == "app.kubernetes.io" {
		return false
	}
	for _, reserved := range []string{"actual.vk", "kubernetes.io", "k8s.io"} {
		if domain == reserved || strings.HasSuffix(domain, "."+reserved) {
			return true
		}
	}
	return false
}
