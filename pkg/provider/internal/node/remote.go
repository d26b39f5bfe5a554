package node

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/remotenodes"
)

// ReadRemote reads what the nodes of the remote cluster are together. If a tenant may
// not list nodes, the node has only what is configured, and shows the version of the
// remote API server instead of the kubelets' version.
func (n *Node) ReadRemote(ctx context.Context) error {
	n.mu.Lock()
	now := n.Clock.Now()
	if now.Before(n.due) {
		n.mu.Unlock()
		return nil
	}
	n.due = now.Add(capacityRetry)
	n.mu.Unlock()
	nodes, err := n.Remote.ListNodes(ctx)
	if err != nil && (!apierrors.IsForbidden(err) || len(n.Spec.Capacity) == 0) {
		return err
	}
	together := remotenodes.Of(nodes, n.Spec.Placement)
	for _, size := range together.Sizes {
		maps.DeleteFunc(size, func(name corev1.ResourceName, _ resource.Quantity) bool { _, set := n.Spec.Capacity[name]; return set })
	}
	if err != nil {
		if together.Info, err = n.Remote.ServerVersion(ctx); err != nil {
			return err
		}
		together.Features = n.Spec.Features
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if together.Info.KubeletVersion == "" { // none takes pods just now: what it is has not changed
		together.Info, together.Labels, together.Features = n.remote.Info, n.remote.Labels, n.remote.Features
	}
	n.remote = together
	n.due = now.Add(capacityRefresh)
	return nil
}

// Sizes returns what is allocatable on the largest nodes of the remote cluster, without
// the resources that are configured. It returns none if akd may not list the nodes. They
// are read-only.
func (n *Node) Sizes() []corev1.ResourceList {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.remote.Sizes
}

// labelsLocked returns the labels of the Node. Those of the configuration come last; there,
// an operating system or architecture without a value is one that the remote nodes do not
// share.
func (n *Node) labelsLocked(info corev1.NodeSystemInfo) map[string]string {
	labels := contract.NodeLabels(n.Spec.Name, n.Spec.Hostname)
	if n.remote.Labels == nil {
		labels[corev1.LabelOSStable], labels[corev1.LabelArchStable] = info.OperatingSystem, info.Architecture
	}
	maps.Copy(labels, n.remote.Labels)
	maps.Copy(labels, n.Spec.Labels)
	for _, key := range []string{corev1.LabelOSStable, corev1.LabelArchStable} {
		if labels[key] == "" {
			delete(labels, key)
		}
	}
	return labels
}
