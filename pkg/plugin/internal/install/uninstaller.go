package install

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/servingrequest"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/ranges"
)

// uninstaller does the steps of a removal.
type uninstaller struct {
	owner   contract.Owner
	both    kubeclient.Clusters
	removed int

	keepVolumes, deleteVolumes bool
	kept                       volumes // in the namespaces that stay
}

// do does one step.
func (u *uninstaller) do(ctx context.Context, s removalStep) (outcome string, err error) {
	c := u.both.Local
	if s.side == kubeclient.Remote {
		c = u.both.Remote
	}
	before := u.removed
	switch s.action {
	case stopAKD:
		err = u.stopAKD(ctx, c)
	case revokeRights:
		err = u.revokeRights(ctx, c)
	case removeNamespaces:
		err = u.removeNamespaces(ctx, c)
	case removeObjects:
		err = u.removeObjects(ctx, c, s)
	case awaitRanges:
		return u.awaitRanges(ctx, c)
	case removeNode:
		err = u.removeNode(ctx, c)
	case removeStorage:
		return u.removeStorage(ctx, c)
	default:
		panic("no such action: " + s.action) // any test of a plan says so
	}
	return fmt.Sprintf("%d removed", u.removed-before), err
}

// count counts what was removed; an object that is gone already is no error.
func (u *uninstaller) count(err error) error {
	if err == nil {
		u.removed++
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// selector selects what belongs to the node in the remote cluster.
func (u *uninstaller) selector() string { return labels.Set(u.owner.ObjectLabels()).String() }

// isOurs reports whether an object belongs to the node. In the local cluster no other
// cluster has nodes.
func (u *uninstaller) isOurs(c *kubeclient.Cluster, object metav1.Object) bool {
	has := object.GetLabels()
	return has[contract.LabelNodeName] == u.owner.Node &&
		(c.Side == kubeclient.Local || has[contract.LabelClusterUID] == string(u.owner.ClusterUID))
}

func (u *uninstaller) stopAKD(ctx context.Context, c *kubeclient.Cluster) error {
	client := c.Client.AppsV1().Deployments(contract.SystemNamespace)
	akd, err := client.Get(ctx, u.owner.Node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && !u.isOurs(c, akd) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read akd's deployment: %w", err)
	}
	options := kubeclient.Exactly(akd)
	options.PropagationPolicy = new(metav1.DeletePropagationForeground)
	if err := u.count(client.Delete(ctx, akd.Name, options)); err != nil {
		return fmt.Errorf("delete akd: %w", err)
	}
	return kubeclient.Until(ctx, func(ctx context.Context) (bool, string, error) {
		pods, err := c.Client.CoreV1().Pods(contract.SystemNamespace).List(ctx, kubeclient.AKDPods(u.owner.Node))
		return err == nil && len(pods.Items) == 0, "akd still runs", err
	})
}

// removeObjects deletes what is installed for the node and, with the last node,
// what all nodes share. It looks again before the latter: another cluster's node,
// which would be left without the policies that confine it, may have come meanwhile.
func (u *uninstaller) removeObjects(ctx context.Context, c *kubeclient.Cluster, s removalStep) error {
	for _, shared := range []bool{false, true} {
		installed, err := listInstalled(ctx, c, s.kinds)
		if err == nil && shared && c.Side == kubeclient.Local {
			installed, err = withShared(ctx, c, s.kinds, installed)
		}
		if err != nil {
			return err
		}
		remove, last := removal(installed, func(o *unstructured.Unstructured) bool { return u.isOurs(c, o) })
		if shared && !last {
			return nil
		}
		for _, object := range remove {
			if isShared(object) != shared {
				continue
			}
			if err := u.remove(ctx, c, object); err != nil {
				return err
			}
		}
	}
	return kubeclient.Until(ctx, func(ctx context.Context) (bool, string, error) {
		system, err := c.Client.CoreV1().Namespaces().Get(ctx, contract.SystemNamespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, "", nil
		}
		if err != nil {
			return false, "", fmt.Errorf("read %s namespace %s: %w", c.Side, contract.SystemNamespace, err)
		}
		seen := fmt.Sprintf("%s namespace %s is still terminating", c.Side, system.Name)
		if reasons := obstacles(system); reasons != "" {
			seen += ": " + reasons
		}
		return false, seen, nil
	})
}

// remove deletes exactly the object that was read.
func (u *uninstaller) remove(ctx context.Context, c *kubeclient.Cluster, object *unstructured.Unstructured) error {
	resource, err := c.Resource(object)
	if err != nil {
		return err
	}
	if object.GetKind() == "Namespace" {
		if err := refuseClaims(ctx, c, object.GetName()); err != nil {
			return err
		}
	}
	if err := u.count(deleteExactly(ctx, resource, object)); err != nil {
		return fmt.Errorf("delete %s %s: %w", c.Side, kubeclient.Title(object), err)
	}
	return nil
}

// deleteExactly deletes the object that was read, and lets what it owns go afterwards.
func deleteExactly(ctx context.Context, resource dynamic.ResourceInterface, object *unstructured.Unstructured) error {
	options := kubeclient.Exactly(object)
	options.PropagationPolicy = new(metav1.DeletePropagationBackground)
	return resource.Delete(ctx, object.GetName(), options)
}

// awaitRanges waits until the remote cluster has no service range of the node
// any more. One whose addresses its own Services got stays until those go.
func (u *uninstaller) awaitRanges(ctx context.Context, remote *kubeclient.Cluster) (string, error) {
	outcome := ""
	selector := metav1.ListOptions{LabelSelector: u.selector()}
	err := kubeclient.Until(ctx, func(ctx context.Context) (bool, string, error) {
		left, err := remote.Client.NetworkingV1().ServiceCIDRs().List(ctx, selector)
		if apierrors.IsNotFound(err) || err == nil && len(left.Items) == 0 {
			return true, "", nil
		}
		if err != nil {
			return false, "", fmt.Errorf("list the remote cluster's service ranges: %w", err)
		}
		cidrs, err := ranges.Parse(left.Items[0].Spec.CIDRs)
		if err != nil {
			return false, "", err
		}
		name := left.Items[0].Name
		colliding, err := ranges.Colliding(ctx, remote, cidrs)
		if len(colliding) > 0 {
			outcome = fmt.Sprintf("%s stays until the remote cluster's own services with addresses of it are gone: %s",
				name, strings.Join(colliding, ", "))
		}
		return len(colliding) > 0, name + " is still in use", err
	})
	return outcome, err
}

// removeNode deletes the node, its pods, which no kubelet ends any more, and the
// requests for its certificates.
func (u *uninstaller) removeNode(ctx context.Context, local *kubeclient.Cluster) error {
	node, err := local.Client.CoreV1().Nodes().Get(ctx, u.owner.Node, metav1.GetOptions{})
	if err == nil && node.Labels[contract.LabelNode] == "" {
		return fmt.Errorf("node %s is not served by an akd: it is not deleted", node.Name)
	}
	if err == nil {
		err = local.Client.CoreV1().Nodes().Delete(ctx, node.Name, kubeclient.Exactly(node))
	}
	if err := u.count(err); err != nil {
		return fmt.Errorf("delete node %s: %w", u.owner.Node, err)
	}
	// After the node: a controller's next pod would be bound to it.
	if err := kubeclient.Until(ctx, func(ctx context.Context) (bool, string, error) { return u.removePods(ctx, local) }); err != nil {
		return err
	}
	leases := local.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	lease, err := leases.Get(ctx, u.owner.Node, metav1.GetOptions{})
	if err == nil {
		err = leases.Delete(ctx, lease.Name, kubeclient.Exactly(lease))
	}
	if err := u.count(err); err != nil {
		return fmt.Errorf("delete the node's lease: %w", err)
	}
	return u.removeRequests(ctx, local)
}

func (u *uninstaller) removeRequests(ctx context.Context, local *kubeclient.Cluster) error {
	requests, server := local.Client.CertificatesV1().CertificateSigningRequests(), servingrequest.Server{Node: u.owner.Node}
	found, err := requests.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list certificate requests: %w", err)
	}
	for i := range found.Items {
		request := &found.Items[i]
		if request.Spec.Username != server.User() {
			continue
		}
		if err := u.count(requests.Delete(ctx, request.Name, kubeclient.Exactly(request))); err != nil {
			return fmt.Errorf("delete certificate request %s: %w", request.Name, err)
		}
	}
	return nil
}

// removePods deletes the node's pods, until there are none.
func (u *uninstaller) removePods(ctx context.Context, local *kubeclient.Cluster) (none bool, seen string, err error) {
	pods, err := local.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + u.owner.Node})
	if err != nil {
		return false, "", fmt.Errorf("list the node's pods: %w", err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		err := local.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: new(int64(0)), Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
		})
		if err := u.count(err); err != nil && !apierrors.IsConflict(err) { // another pod of its name: the next look finds it
			return false, "", fmt.Errorf("delete pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
	}
	return len(pods.Items) == 0, ending(pods.Items), nil
}

// ending says which finalizers hold pods.
func ending(pods []corev1.Pod) string {
	text := fmt.Sprintf("%d pods of the node are ending", len(pods))
	for i := range pods {
		if held := pods[i].Finalizers; len(held) > 0 {
			return fmt.Sprintf("%s; %s/%s has the finalizers %s", text, pods[i].Namespace, pods[i].Name, strings.Join(held, ", "))
		}
	}
	return text
}
