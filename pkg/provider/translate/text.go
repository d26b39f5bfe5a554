package translate

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/disclosure"
)

// LocalText returns what local users may read of an error about a local pod: it has
// local instead of remote names, and what package disclosure leaves.
func (m *Mapper) LocalText(local *corev1.Pod, text string) string {
	return disclosure.Text(m.names(local, "").translate(text))
}

// names are pairs of a remote name and the local name that replaces it.
type names [][2]string

// names returns the names to replace in messages of the remote cluster about a
// local pod. remoteUID may be empty.
func (m *Mapper) names(local *corev1.Pod, remoteUID types.UID) names {
	pairs := m.namespaceNames(local.Namespace)
	if remoteUID != "" {
		pairs = append(pairs, [2]string{string(remoteUID), string(local.UID)})
	}
	return pairs
}

// namespaceNames returns the names that the remote namespace of a local one can have, with room
// for another pair.
func (m *Mapper) namespaceNames(local string) names {
	pairs := make(names, 0, 3)
	for _, remote := range contract.RemoteNamespaces(m.Node, local) {
		pairs = append(pairs, [2]string{remote, local})
	}
	return pairs
}

func (n names) translate(text string) string {
	if text == "" {
		return text
	}
	for _, pair := range n {
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	return localNames(text)
}

// localNames replaces the reserved names of copies, but not those of akd's own
// Secrets, which have no local names.
func localNames(text string) string {
	if !strings.Contains(text, contract.ReservedPrefix) {
		return text
	}
	parts := strings.Split(text, contract.ReservedPrefix)
	for i, after := range parts[1:] {
		if contract.IsTokenSecretName(contract.ReservedPrefix + after) {
			parts[i+1] = contract.ReservedPrefix + after
		}
	}
	return strings.Join(parts, "")
}
