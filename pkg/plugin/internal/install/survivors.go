package install

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// survivors looks for what outlives a stolen token: what somebody who had one may
// have left in the node's remote namespaces, and rights that akd has by other
// bindings than its own. Each line names a kind, and what to do about it. It returns
// what it found even if some of it could not be read.
func survivors(ctx context.Context, remote *kubeclient.Cluster, owner contract.Owner) ([]string, error) {
	options := metav1.ListOptions{LabelSelector: labels.Set(owner.ObjectLabels()).String()}
	namespaces, err := remote.Client.CoreV1().Namespaces().List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list the node's remote namespaces: %w", err)
	}
	s := &survey{remote: remote, owner: owner}
	for n := range namespaces.Items {
		s.own = append(s.own, namespaces.Items[n].Name)
	}
	var problems []error
	for _, look := range []func(context.Context) error{s.pods, s.budgets, s.claims, s.secrets, s.bindings, s.clusterBindings} {
		problems = append(problems, look(ctx))
	}
	return s.found, errors.Join(problems...)
}

// survey collects survivors.
type survey struct {
	remote *kubeclient.Cluster
	owner  contract.Owner
	own    []string // the node's remote namespaces
	found  []string
}

// add adds a line, if there is anything to report.
func (s *survey) add(what string, names []string, advice string) {
	if len(names) > 0 {
		s.found = append(s.found, fmt.Sprintf("%d %s (%s): %s", len(names), what, joined(names), advice))
	}
}

// pods looks for running pods: all were made with the token, by akd or by a thief.
func (s *survey) pods(ctx context.Context) error {
	running := 0
	var foreign []string
	for _, namespace := range s.own {
		pods, err := s.remote.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list remote pods: %w", err)
		}
		for n := range pods.Items {
			pod := &pods.Items[n]
			if ended(pod) {
				continue
			}
			running++
			if s.owner.OwnsPod(pod, pod.Labels[contract.LabelNamespace]) != nil {
				foreign = append(foreign, namespace+"/"+pod.Name)
			}
		}
	}
	if running > 0 {
		s.found = append(s.found, fmt.Sprintf("%d pods run in the node's remote namespaces: "+
			"akd deletes those that it created and no local pod has; "+
			"processes that a thief started in the others run on until you delete these pods locally", running))
	}
	s.add("of them are not akd's", foreign, "delete them")
	return nil
}

// budgets looks for what keeps pods from being evicted.
func (s *survey) budgets(ctx context.Context) error {
	var names []string
	for _, namespace := range s.own {
		budgets, err := s.remote.Client.PolicyV1().PodDisruptionBudgets(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list remote poddisruptionbudgets: %w", err)
		}
		for n := range budgets.Items {
			names = append(names, namespace+"/"+budgets.Items[n].Name)
		}
	}
	s.add("PodDisruptionBudgets keep pods from being evicted", names, "delete those that you do not know: akd makes its own again")
	return nil
}

// claims looks for volumes that no local volume stands for.
func (s *survey) claims(ctx context.Context) error {
	var names []string
	for _, namespace := range s.own {
		claims, err := s.remote.Client.CoreV1().PersistentVolumeClaims(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list remote persistentvolumeclaims: %w", err)
		}
		for n := range claims.Items {
			if claims.Items[n].Annotations[contract.AnnotationVolume] == "" {
				names = append(names, namespace+"/"+claims.Items[n].Name)
			}
		}
	}
	s.add("PersistentVolumeClaims have no local volume", names, "delete those that you do not know: akd has not used them yet")
	return nil
}

// secrets looks for tokens of other accounts in the node's namespaces.
func (s *survey) secrets(ctx context.Context) error {
	var tokens []string
	for _, namespace := range s.own {
		secrets, err := s.remote.Client.CoreV1().Secrets(namespace).List(ctx,
			metav1.ListOptions{FieldSelector: "type=" + string(corev1.SecretTypeServiceAccountToken)})
		if err != nil {
			return fmt.Errorf("list remote secrets: %w", err)
		}
		for n := range secrets.Items {
			if secrets.Items[n].Type == corev1.SecretTypeServiceAccountToken {
				tokens = append(tokens, namespace+"/"+secrets.Items[n].Name)
			}
		}
	}
	s.add("Secrets hold tokens of service accounts", tokens, "delete them: their tokens do not expire")
	return nil
}

// bindings looks for rights of others in the node's namespaces, and for rights of
// akd elsewhere.
func (s *survey) bindings(ctx context.Context) error {
	bindings, err := s.remote.Client.RbacV1().RoleBindings("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list remote role bindings: %w", err)
	}
	var others, elsewhere []string
	isAKD := isAccount(s.owner.Node)
	for n := range bindings.Items {
		binding := &bindings.Items[n]
		title := binding.Namespace + "/" + binding.Name
		switch {
		case slices.Contains(s.own, binding.Namespace):
			if slices.ContainsFunc(binding.Subjects, func(subject rbacv1.Subject) bool { return !isAKD(subject) }) {
				others = append(others, title)
			}
		case slices.ContainsFunc(binding.Subjects, isAKD) && binding.Labels[contract.LabelNodeName] != s.owner.Node:
			elsewhere = append(elsewhere, title)
		}
	}
	s.add("role bindings give others rights in the node's namespaces", others, "delete those that you did not make")
	s.add("role bindings give akd rights elsewhere, and still do", elsewhere, "delete those that you did not make")
	return nil
}

func (s *survey) clusterBindings(ctx context.Context) error {
	bindings, err := s.remote.Client.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list remote cluster role bindings: %w", err)
	}
	var elsewhere []string
	for n := range bindings.Items {
		binding := &bindings.Items[n]
		if slices.ContainsFunc(binding.Subjects, isAccount(s.owner.Node)) && binding.Labels[contract.LabelNodeName] != s.owner.Node {
			elsewhere = append(elsewhere, binding.Name)
		}
	}
	s.add("cluster role bindings give akd rights everywhere, and still do", elsewhere, "delete those that you did not make")
	return nil
}

// reportSurvivors tells what outlives the tokens that were revoked. It is no failure:
// the tokens are revoked.
func (o *rotateOptions) reportSurvivors(ctx context.Context, remote *kubeclient.Cluster, owner contract.Owner) {
	out := o.env.Out()
	found, err := survivors(ctx, remote, owner)
	if err != nil {
		reason := err.Error()
		if apierrors.IsForbidden(err) {
			reason += "; ask an administrator of the remote cluster to look"
		}
		found = append(found, "not all of it is known: "+reason)
	}
	if len(found) == 0 {
		out.Printf("nothing else of a thief's was found in the remote cluster\n")
		return
	}
	out.Printf("what the tokens' end does not end, in the remote cluster:\n")
	for _, line := range found {
		out.Paragraph(2, output.MarkWarning, line)
	}
}
