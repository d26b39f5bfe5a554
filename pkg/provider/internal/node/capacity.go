package node

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// remoteNodes is the sum of the nodes of the remote cluster.
type remoteNodes struct {
	capacity    corev1.ResourceList
	allocatable corev1.ResourceList
	info        corev1.NodeSystemInfo
}

// ReadRemote sums up the schedulable nodes of the remote cluster. If a tenant may
// not list nodes, the node has only the configured capacity, and shows the
// version of the remote API server instead of the kubelets' version.
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
	total := sum(nodes)
	if err != nil {
		if total.info, err = n.Remote.ServerVersion(ctx); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remoteNodes = total
	n.due = now.Add(capacityRefresh)
	return nil
}

// sum returns the sum of the nodes that accept pods.
func sum(nodes []corev1.Node) remoteNodes {
	total := remoteNodes{capacity: corev1.ResourceList{}, allocatable: corev1.ResourceList{}}
	slices.SortFunc(nodes, func(a, b corev1.Node) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	for i := range nodes {
		if !takesPods(&nodes[i]) {
			continue
		}
		if total.info.KubeletVersion == "" {
			total.info = nodes[i].Status.NodeInfo
		}
		add(total.capacity, nodes[i].Status.Capacity)
		add(total.allocatable, nodes[i].Status.Allocatable)
	}
	return total
}

func takesPods(node *corev1.Node) bool {
	if node.Spec.Unschedulable {
		return false
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func add(total, more corev1.ResourceList) {
	for name, quantity := range more {
		sum := total[name]
		sum.Add(quantity)
		total[name] = sum
	}
}
