package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// uninstall is the command of that name.
type uninstall struct {
	access            *access
	steps             *steps
	node              string
	force, keepRemote bool
	timeout           time.Duration
	removed           int
}

func newUninstall(access *access, style *style, streams genericiooptions.IOStreams) *cobra.Command {
	u := &uninstall{access: access, steps: &steps{out: streams.ErrOut, style: style}}
	cmd := &cobra.Command{
		Use:   "uninstall NODE --remote-context CONTEXT",
		Short: "Remove a node, and all that was installed for it",
		Args:  oneNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			u.node = args[0]
			if err := contract.CheckNodeName(u.node); err != nil {
				return usageError{err}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), u.timeout)
			defer cancel()
			if err := u.run(ctx); err != nil {
				return err
			}
			printf(streams.Out, "node/%s uninstalled: %d objects removed\n", u.node, u.removed)
			return nil
		},
	}
	cmd.Flags().BoolVar(&u.force, "force", false, "also while pods run on the node: they end")
	cmd.Flags().BoolVar(&u.keepRemote, "keep-remote", false, "leave the remote cluster alone, when it is gone for instance")
	cmd.Flags().DurationVar(&u.timeout, "timeout", 3*time.Minute, "how long removal may take")
	cmd.Flags().BoolVarP(&u.steps.quiet, "quiet", "q", false, "print results and errors only")
	return cmd
}

func (u *uninstall) run(ctx context.Context) error {
	connect := u.access.connect
	if u.keepRemote {
		connect = u.access.connectLocal
	}
	both, err := connect(ctx)
	if _, usage := errors.AsType[usageError](err); err != nil && !usage && !u.keepRemote {
		return fmt.Errorf("%w\nif the remote cluster is gone for good, remove what is local alone with --keep-remote", err)
	}
	if err != nil {
		return err
	}
	if err := u.refuse(ctx, both.local); err != nil {
		return err
	}
	// akd first, so that it does not make again what is removed.
	for _, c := range []*cluster{both.local, both.remote} {
		if c != nil {
			if err := u.step(ctx, c, "akd", u.stopAKD); err != nil {
				return err
			}
		}
	}
	if both.remote != nil {
		if err := u.step(ctx, both.remote, "pods and their namespaces", u.removeNamespaces); err != nil {
			return err
		}
		if err := u.step(ctx, both.remote, "rights", u.removeObjects); err != nil {
			return err
		}
		if err := u.steps.do(ctx, "remote service range", func(ctx context.Context) (string, error) { return u.awaitRanges(ctx, both.remote) }); err != nil {
			return err
		}
	}
	if err := u.step(ctx, both.local, "node", u.removeNode); err != nil {
		return err
	}
	return u.step(ctx, both.local, "rights", u.removeObjects)
}

func (u *uninstall) step(ctx context.Context, c *cluster, what string, do func(context.Context, *cluster) error) error {
	return u.steps.do(ctx, c.side+" "+what, func(ctx context.Context) (string, error) {
		before := u.removed
		err := do(ctx, c)
		return fmt.Sprintf("%d removed", u.removed-before), err
	})
}

// refuse lists the pods that would end.
func (u *uninstall) refuse(ctx context.Context, local *cluster) error {
	pods, err := local.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + u.node})
	if err != nil {
		return fmt.Errorf("list the node's pods: %w", err)
	}
	var running []string
	for i := range pods.Items {
		pod := &pods.Items[i]
		ours := pod.Namespace == contract.SystemNamespace && pod.Labels["app.kubernetes.io/managed-by"] == fieldManager
		if !ours && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
			running = append(running, pod.Namespace+"/"+pod.Name)
		}
	}
	if len(running) == 0 || u.force {
		return nil
	}
	return fmt.Errorf("%d pods run on node %s: %s: move them with kubectl drain %s --ignore-daemonsets --delete-emptydir-data, or end them with --force",
		len(running), u.node, strings.Join(running[:min(len(running), 10)], ", "), u.node)
}

func (u *uninstall) stopAKD(ctx context.Context, c *cluster) error {
	err := c.client.AppsV1().Deployments(contract.SystemNamespace).Delete(ctx, u.node,
		metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationForeground)})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete akd: %w", err)
	}
	u.removed++
	return until(ctx, func(ctx context.Context) (bool, string, error) {
		pods, err := c.client.CoreV1().Pods(contract.SystemNamespace).List(ctx, akdPods(u.node))
		return err == nil && len(pods.Items) == 0, "akd still runs", err
	})
}

// removeNamespaces removes the node's namespaces, and waits until they are gone.
func (u *uninstall) removeNamespaces(ctx context.Context, remote *cluster) error {
	client := remote.client.CoreV1().Namespaces()
	selector := metav1.ListOptions{LabelSelector: contract.LabelNodeName + "=" + u.node}
	namespaces, err := client.List(ctx, selector)
	if err != nil {
		return fmt.Errorf("list the node's remote namespaces: %w", err)
	}
	for i := range namespaces.Items {
		if err := client.Delete(ctx, namespaces.Items[i].Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete remote namespace %s: %w", namespaces.Items[i].Name, err)
		}
		u.removed++
	}
	return until(ctx, func(ctx context.Context) (bool, string, error) {
		left, err := client.List(ctx, selector)
		return err == nil && len(left.Items) == 0, "remote namespaces are still terminating", err
	})
}

// removeNode removes the node, its pods, which no kubelet ends now, and the
// requests for its certificates.
func (u *uninstall) removeNode(ctx context.Context, local *cluster) error {
	node, err := local.client.CoreV1().Nodes().Get(ctx, u.node, metav1.GetOptions{})
	if err == nil && node.Labels["actual.vk/node"] == "" {
		return fmt.Errorf("node %s is not one of akd: it stays", u.node)
	}
	if err := u.count(local.client.CoreV1().Nodes().Delete(ctx, u.node, metav1.DeleteOptions{})); err != nil {
		return fmt.Errorf("delete node %s: %w", u.node, err)
	}
	// After the node: a controller's next pod would be bound to it.
	if err := until(ctx, func(ctx context.Context) (bool, string, error) { return u.removePods(ctx, local) }); err != nil {
		return err
	}
	err = local.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Delete(ctx, u.node, metav1.DeleteOptions{})
	if err := u.count(err); err != nil {
		return fmt.Errorf("delete the node's lease: %w", err)
	}
	requests := local.client.CertificatesV1().CertificateSigningRequests()
	found, err := requests.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list certificate requests: %w", err)
	}
	for i := range found.Items {
		if found.Items[i].Spec.Username == "system:node:"+u.node {
			if err := u.count(requests.Delete(ctx, found.Items[i].Name, metav1.DeleteOptions{})); err != nil {
				return fmt.Errorf("delete certificate request %s: %w", found.Items[i].Name, err)
			}
		}
	}
	return nil
}

// removePods removes the node's pods, until there are none.
func (u *uninstall) removePods(ctx context.Context, local *cluster) (none bool, seen string, err error) {
	pods, err := local.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + u.node})
	if err != nil {
		return false, "", fmt.Errorf("list the node's pods: %w", err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		err := local.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: new(int64(0)), Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
		})
		if err := u.count(err); err != nil && !apierrors.IsConflict(err) { // another one of its name is the next time's
			return false, "", fmt.Errorf("delete pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
	}
	return len(pods.Items) == 0, fmt.Sprintf("%d pods of the node end", len(pods.Items)), nil
}

// removeObjects removes what is labelled as the node's and, with the last node,
// what all nodes share.
func (u *uninstall) removeObjects(ctx context.Context, c *cluster) error {
	kinds, err := kindsOf()
	if err != nil {
		return err
	}
	managed := "app.kubernetes.io/managed-by=" + fieldManager + ","
	others := 0
	for _, kind := range kinds {
		left, err := u.removeKind(ctx, c, kind, managed+contract.LabelNodeName)
		if err != nil {
			return err
		}
		others += left
	}
	if others > 0 {
		return nil
	}
	for _, kind := range kinds {
		if _, err := u.removeKind(ctx, c, kind, managed+"app.kubernetes.io/part-of=actual-kubelets,!"+contract.LabelNodeName); err != nil {
			return err
		}
	}
	return until(ctx, func(ctx context.Context) (bool, string, error) {
		_, err := c.client.CoreV1().Namespaces().Get(ctx, contract.SystemNamespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, "", nil
		}
		return false, "namespace " + contract.SystemNamespace + " is still terminating", err
	})
}

// removeKind removes what a selector finds, but for other nodes' objects, which it counts.
func (u *uninstall) removeKind(ctx context.Context, c *cluster, kind schema.GroupVersionKind, selector string) (others int, err error) {
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("%s cluster: find %s: %w", c.side, kind.Kind, err)
	}
	found, err := c.dynamic.Resource(mapping.Resource).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return 0, fmt.Errorf("list %s %s: %w", c.side, mapping.Resource.Resource, err)
	}
	for i := range found.Items {
		object := &found.Items[i]
		if node, ok := object.GetLabels()[contract.LabelNodeName]; ok && node != u.node {
			others++
			continue
		}
		resource, err := c.resource(object)
		if err != nil {
			return others, err
		}
		if err := u.count(resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)})); err != nil {
			return others, fmt.Errorf("delete %s %s: %w", c.side, title(object), err)
		}
	}
	return others, nil
}

// count counts what was removed; what is gone already is no error.
func (u *uninstall) count(err error) error {
	if err == nil {
		u.removed++
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// kindsOf are all kinds that an installation can have, what depends on others first.
func kindsOf() ([]schema.GroupVersionKind, error) {
	kinds := []schema.GroupVersionKind{corev1.SchemeGroupVersion.WithKind("Secret")}
	for _, runIn := range []string{manifests.RunInLocal, manifests.RunInRemote} {
		values := manifests.Values{
			Node: "any", Image: "any", RunIn: runIn, Replicas: 2, ReadNodes: true, ReadMetrics: true,
			MirrorServices: true, ServiceCIDRs: []string{"10.96.0.0/16"}, EndpointCIDRs: []string{"10.244.0.0/16"},
			Limits: manifests.Limits{ResourceQuota: true, LimitRange: true, NetworkPolicy: true},
		}
		for _, render := range []func(manifests.Values) ([]*unstructured.Unstructured, error){manifests.Remote, manifests.Local} {
			objects, err := render(values)
			if err != nil {
				return nil, err
			}
			for _, object := range objects {
				if kind := object.GroupVersionKind(); !slices.Contains(kinds, kind) {
					kinds = append(kinds, kind)
				}
			}
		}
	}
	slices.Reverse(kinds)
	return kinds, nil
}
