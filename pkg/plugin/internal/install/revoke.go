package install

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// revokeRights takes away what akd may do in the remote cluster, and its tokens,
// before anything is waited for: whoever has a token could otherwise keep the node's
// namespaces, or create more of them, and keep the rights for as long. The account
// itself stays, without rights and tokens, for it has the record that a rerun needs.
func (u *uninstaller) revokeRights(ctx context.Context, remote *kubeclient.Cluster) error {
	own := metav1.ListOptions{LabelSelector: u.selector()}
	everywhere, err := remote.Client.RbacV1().ClusterRoleBindings().List(ctx, own)
	if err != nil {
		return fmt.Errorf("list the node's remote cluster role bindings: %w", err)
	}
	for n := range everywhere.Items {
		binding := &everywhere.Items[n]
		if err := u.count(remote.Client.RbacV1().ClusterRoleBindings().Delete(ctx, binding.Name, kubeclient.Exactly(binding))); err != nil {
			return fmt.Errorf("delete remote ClusterRoleBinding %s: %w", binding.Name, err)
		}
	}
	if err := u.revokeInNamespaces(ctx, remote); err != nil {
		return err
	}
	account, err := remote.Client.CoreV1().ServiceAccounts(contract.SystemNamespace).Get(ctx, u.owner.Node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return standIn(ctx, remote, u.owner)
	}
	if err == nil && account.Labels[contract.LabelClusterUID] != string(u.owner.ClusterUID) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read akd's remote service account: %w", err)
	}
	return replaceAccount(ctx, remote, u.owner)
}

// revokeInNamespaces deletes the role bindings of akd in actual-system and in the
// node's namespaces, whatever their labels: a thief could have made them.
func (u *uninstaller) revokeInNamespaces(ctx context.Context, remote *kubeclient.Cluster) error {
	namespaces, err := remote.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: u.selector()})
	if err != nil {
		return fmt.Errorf("list the node's remote namespaces: %w", err)
	}
	in := []string{contract.SystemNamespace}
	for n := range namespaces.Items {
		in = append(in, namespaces.Items[n].Name)
	}
	bindings, err := remote.Client.RbacV1().RoleBindings("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list remote role bindings: %w", err)
	}
	for n := range bindings.Items {
		binding := &bindings.Items[n]
		if !slices.Contains(in, binding.Namespace) || !slices.ContainsFunc(binding.Subjects, isAccount(u.owner.Node)) {
			continue
		}
		err := remote.Client.RbacV1().RoleBindings(binding.Namespace).Delete(ctx, binding.Name, kubeclient.Exactly(binding))
		if err := u.count(err); err != nil {
			return fmt.Errorf("delete remote RoleBinding %s/%s: %w", binding.Namespace, binding.Name, err)
		}
	}
	return nil
}

// isAccount recognizes akd's own service account among the subjects of a binding.
func isAccount(node string) func(rbacv1.Subject) bool {
	return func(s rbacv1.Subject) bool {
		return s.Kind == rbacv1.ServiceAccountKind && s.Namespace == contract.SystemNamespace && s.Name == node ||
			s.Kind == rbacv1.UserKind && s.Name == kubeclient.AccountUser(node)
	}
}

// removeNamespaces deletes the node's namespaces, also those that appear meanwhile,
// until there are none but those that stay for their volumes. The pods in them wait for an
// akd that is not there any more.
func (u *uninstaller) removeNamespaces(ctx context.Context, remote *kubeclient.Cluster) error {
	client := remote.Client.CoreV1().Namespaces()
	err := kubeclient.Until(ctx, func(ctx context.Context) (bool, string, error) {
		left, err := client.List(ctx, metav1.ListOptions{LabelSelector: u.selector()})
		if err != nil {
			return false, "", fmt.Errorf("list the node's remote namespaces: %w", err)
		}
		var ending []corev1.Namespace
		emptied := true
		u.kept = volumes{}
		for n := range left.Items {
			namespace := &left.Items[n]
			stays, done, err := u.removeNamespace(ctx, remote, namespace)
			if err != nil {
				return false, "", err
			}
			if !stays {
				ending = append(ending, *namespace)
			}
			emptied = emptied && done
		}
		if err := u.letGo(ctx, remote, left.Items); err != nil {
			return false, "", err
		}
		seen := terminating(ending)
		if seen == "" && !emptied {
			seen = "pods and copies beside the volumes are still terminating"
		}
		return seen == "", seen, nil
	})
	if err != nil && ctx.Err() != nil {
		return failure.Hintf(err, "akd has no rights in the remote cluster any more; remove what holds the namespaces up, "+
			"such as finalizers, then run the same command again")
	}
	return err
}

// letGo takes akd's finalizer off the pods in the namespaces. Those of others stay.
func (u *uninstaller) letGo(ctx context.Context, remote *kubeclient.Cluster, from []corev1.Namespace) error {
	if len(from) == 0 {
		return nil
	}
	pods, err := remote.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: u.selector()})
	if err != nil {
		return fmt.Errorf("list the node's remote pods: %w", err)
	}
	for n := range pods.Items {
		pod := &pods.Items[n]
		in := func(namespace corev1.Namespace) bool { return namespace.Name == pod.Namespace }
		if !slices.Contains(pod.Finalizers, contract.FinalizerLastState) || !slices.ContainsFunc(from, in) {
			continue
		}
		_, err := remote.Client.CoreV1().Pods(pod.Namespace).
			Patch(ctx, pod.Name, types.StrategicMergePatchType, contract.WithoutLastState(pod.UID), metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // another pod of its name: the next look finds it
			return fmt.Errorf("take the finalizer %s off remote pod %s/%s: %w", contract.FinalizerLastState, pod.Namespace, pod.Name, err)
		}
	}
	return nil
}

// terminating says what holds namespaces up, as far as they say so themselves.
// https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/
func terminating(namespaces []corev1.Namespace) string {
	if len(namespaces) == 0 {
		return ""
	}
	for n := range namespaces {
		if reasons := obstacles(&namespaces[n]); reasons != "" {
			return fmt.Sprintf("%d remote namespaces are still terminating; %s: %s", len(namespaces), namespaces[n].Name, reasons)
		}
	}
	return fmt.Sprintf("%d remote namespaces are still terminating", len(namespaces))
}

// obstacles says what holds a namespace up.
func obstacles(namespace *corev1.Namespace) string {
	var reasons []string
	for _, condition := range namespace.Status.Conditions {
		if condition.Status == corev1.ConditionTrue && condition.Message != "" {
			reasons = append(reasons, condition.Message)
		}
	}
	return joined(reasons)
}

// joined is a list in one line, cut after a few entries.
func joined(list []string) string {
	const most = 10
	text := strings.Join(list[:min(len(list), most)], "; ")
	if more := len(list) - most; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}
