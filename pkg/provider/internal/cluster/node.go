package cluster

import (
	"time"

	vknode "github.com/virtual-kubelet/virtual-kubelet/node"
	authorizationv1 "k8s.io/api/authorization/v1"

	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
)

// NodeListWatch selects this node's Node object.
func (c *Local) NodeListWatch() store.ListWatch {
	return store.NewListWatch("local node "+c.node, c.server(), c.client.CoreV1().Nodes(), store.ByField(metav1.ObjectNameField, c.node))
}

// GetNode reads the Node from the API server, not from a cache.
func (c *Local) GetNode(ctx context.Context) (*corev1.Node, error) {
	node, err := c.client.CoreV1().Nodes().Get(ctx, c.node, metav1.GetOptions{})
	if err != nil {
		return nil, localError{fmt.Errorf("read local node %s: %w", c.node, err)}
	}
	return node, nil
}

// SetNodeCondition sets one condition of the Node, if the Node is as it was read.
func (c *Local) SetNodeCondition(ctx context.Context, read *corev1.Node, condition *corev1.NodeCondition) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": read.UID, "resourceVersion": read.ResourceVersion},
		"status":   map[string]any{"conditions": []*corev1.NodeCondition{condition}}, // merged by type
	})
	if err != nil {
		return err
	}
	nodes := c.client.CoreV1().Nodes()
	if _, err := nodes.Patch(ctx, read.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("set condition %s of local node %s: %w", condition.Type, read.Name, err)
	}
	return nil
}

// ListNodes lists the remote nodes from the cache of the API server.
func (c *Remote) ListNodes(ctx context.Context) ([]corev1.Node, error) {
	list, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, fmt.Errorf("list remote nodes: %w", err)
	}
	return list.Items, nil
}

// ServerVersion returns the node information that remains if the nodes may not be
// listed: the version of the remote API server.
func (c *Remote) ServerVersion(ctx context.Context) (corev1.NodeSystemInfo, error) {
	version, err := c.client.Discovery().ServerVersionWithContext(ctx)
	if err != nil {
		return corev1.NodeSystemInfo{}, fmt.Errorf("read version of the remote API server: %w", err)
	}
	return corev1.NodeSystemInfo{KubeletVersion: version.GitVersion}, nil
}

// Probe makes one read that requires storage and one write that requires
// authorization. Neither leaves a trace, and a tenant may make both: akd
// identifies the cluster by the same read, and every authenticated user may make
// the write. If an administrator has revoked that permission, the refusal also
// counts as an answer.
func (c *Remote) Probe(ctx context.Context) error {
	if _, err := c.GetNamespace(ctx, metav1.NamespaceSystem); err != nil {
		return err
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "namespaces"},
	}}
	_, err := c.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil && !apierrors.IsForbidden(err) {
		return fmt.Errorf("create selfsubjectaccessreview: %w", err)
	}
	return nil
}

// LastRenewed returns when the node's lease was last renewed, or zero if it was
// never renewed or cannot be read.
func (c *Local) LastRenewed(ctx context.Context) time.Time {
	lease, err := c.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, c.node, metav1.GetOptions{})
	if err != nil || lease.Spec.RenewTime == nil {
		return time.Time{}
	}
	return lease.Spec.RenewTime.Time
}

// NodeController returns the controller that registers the Node and maintains its
// status and its lease. object returns the current desired state of the Node.
// deleted is called if someone has deleted the Node, before the controller
// recreates it.
func (c *Local) NodeController(
	provider vknode.NodeProvider, object func() *corev1.Node, deleted func(),
) (*vknode.NodeController, error) {
	nodes := c.client.CoreV1().Nodes()
	leases := c.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	controller, err := vknode.NewNodeController(provider, object(), nodes,
		vknode.WithNodeEnableLeaseV1(leases, vknode.DefaultLeaseDuration),
		vknode.WithNodeStatusUpdateErrorHandler(func(ctx context.Context, err error) error {
			if !apierrors.IsNotFound(err) {
				return err
			}
			deleted()
			if _, err := nodes.Create(ctx, object(), metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("create local node %s: %w", c.node, err)
			}
			return nil
		}))
	if err != nil {
		return nil, fmt.Errorf("make node controller: %w", err)
	}
	return controller, nil
}
