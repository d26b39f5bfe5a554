package podsync

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
)

// Lookup answers the kubelet API from the caches.
type Lookup struct {
	local      *store.Store[*corev1.Pod]
	namespaces *namespaces.Set
}

// Pod implements kubeletapi.Pods.
func (p Lookup) Pod(namespace, name string) (*corev1.Pod, bool) {
	pod := p.local.Get(namespace, name)
	return pod, pod != nil
}

// List implements kubeletapi.Pods.
func (p Lookup) List() []*corev1.Pod { return p.local.All() }

// Remote implements kubeletapi.Pods. It returns only the remote pod that was
// created for exactly this local pod: another one with that name does not
// belong to its owner.
func (p Lookup) Remote(local *corev1.Pod) (namespace, name string, ok bool) {
	opened := p.namespaces.Get(local.Namespace)
	if opened == nil {
		return "", "", false
	}
	remote := opened.Pod(local.Name)
	if remote == nil || remote.Labels[contract.LabelUID] != string(local.UID) {
		return "", "", false
	}
	return remote.Namespace, remote.Name, true
}
