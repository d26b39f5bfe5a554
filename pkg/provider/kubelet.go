package provider

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// pods answers the kubelet API from the caches.
type podLookup struct {
	local  *objects[*corev1.Pod]
	spaces *spaces
}

// Pod implements kubeletapi.Pods.
func (p podLookup) Pod(namespace, name string) (*corev1.Pod, bool) {
	pod := p.local.get(namespace, name)
	return pod, pod != nil
}

// List implements kubeletapi.Pods.
func (p podLookup) List() []*corev1.Pod { return p.local.all() }

// Remote implements kubeletapi.Pods. Only the remote pod that was made for
// this very local pod will do: another one under the name is not its owner's.
func (p podLookup) Remote(local *corev1.Pod) (namespace, name string, ok bool) {
	space := p.spaces.get(local.Namespace)
	if space == nil {
		return "", "", false
	}
	remote := space.pod(local.Name)
	if remote == nil || remote.Labels[contract.LabelUID] != string(local.UID) {
		return "", "", false
	}
	return remote.Namespace, remote.Name, true
}
