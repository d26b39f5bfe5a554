package check

import (
	"context"
	"errors"
	"fmt"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/rights"
)

// policiesPresent compares each policy and binding with what install applies.
func policiesPresent(ctx context.Context, s *Subject) Finding {
	objects, err := manifests.Remote(s.Node.Values)
	if err != nil {
		return unknown(err)
	}
	var names, problems []string
	for _, object := range objects {
		var problem string
		switch object.GetKind() {
		case "ValidatingAdmissionPolicy":
			names = append(names, object.GetName())
			problem, err = policyProblem(ctx, s.Remote, object)
		case "ValidatingAdmissionPolicyBinding":
			problem, err = bindingProblem(ctx, s.Remote, object)
		}
		if err != nil {
			return unknown(err)
		}
		if problem != "" {
			problems = append(problems, problem)
		}
	}
	if len(problems) > 0 {
		return failed(s.installCommand(), "%s: akd's credential may reach more than its own", strings.Join(problems, "; "))
	}
	finding := ok("%d policies, each bound to deny", len(names))
	finding.Details = names
	return finding
}

// policyProblem says how a policy differs from the one that install applies.
func policyProblem(ctx context.Context, remote *kubeclient.Cluster, object *unstructured.Unstructured) (string, error) {
	var want admissionregistrationv1.ValidatingAdmissionPolicy
	have, err := storedLike(ctx, remote.Client.AdmissionregistrationV1().ValidatingAdmissionPolicies(), object, &want)
	if err != nil || have == nil {
		return "policy " + object.GetName() + " is missing", err
	}
	setDefaults(want.Spec.MatchConstraints)
	setDefaults(have.Spec.MatchConstraints)
	if !equality.Semantic.DeepEqual(want.Spec, have.Spec) {
		return "policy " + want.Name + " is not the one of this version", nil
	}
	return "", nil
}

// bindingProblem says how a binding differs from the one that install applies.
func bindingProblem(ctx context.Context, remote *kubeclient.Cluster, object *unstructured.Unstructured) (string, error) {
	var want admissionregistrationv1.ValidatingAdmissionPolicyBinding
	have, err := storedLike(ctx, remote.Client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings(), object, &want)
	if err != nil || have == nil {
		return "binding " + object.GetName() + " is missing", err
	}
	setDefaults(want.Spec.MatchResources)
	setDefaults(have.Spec.MatchResources)
	if !equality.Semantic.DeepEqual(want.Spec, have.Spec) {
		return "binding " + want.Name + " does not deny all that it should", nil
	}
	return "", nil
}

// getter is the client of a kind.
type getter[T any] interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (*T, error)
}

// storedLike reads into want what install applies, and returns what the cluster has
// by that name, or nil if there is nothing.
func storedLike[T any](ctx context.Context, client getter[T], object *unstructured.Unstructured, want *T) (*T, error) {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, want); err != nil {
		return nil, fmt.Errorf("%s: %w", kubeclient.Title(object), err)
	}
	have, err := client.Get(ctx, object.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // there is nothing
	}
	return have, err
}

// setDefaults sets what the API server does.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/apis/admissionregistration/v1/defaults.go
func setDefaults(match *admissionregistrationv1.MatchResources) {
	if match == nil {
		return
	}
	if match.MatchPolicy == nil {
		match.MatchPolicy = new(admissionregistrationv1.Equivalent)
	}
	if match.NamespaceSelector == nil {
		match.NamespaceSelector = &metav1.LabelSelector{}
	}
	if match.ObjectSelector == nil {
		match.ObjectSelector = &metav1.LabelSelector{}
	}
	for i := range match.ResourceRules {
		if match.ResourceRules[i].Scope == nil {
			match.ResourceRules[i].Scope = new(admissionregistrationv1.AllScopes)
		}
	}
}

// policiesEffective tries, as akd, what each policy has to refuse.
func policiesEffective(ctx context.Context, s *Subject) Finding {
	owner := s.owner()
	namespace, err := ownNamespace(ctx, s, owner)
	if err != nil {
		return unknown(err)
	}
	trials := rights.Trials(owner, namespace, &s.Node.Values)
	err = rights.CheckConfinement(ctx, s.Remote, s.Node.Name, trials)
	switch {
	case err == nil:
		return ok("akd was refused by each of %d", len(trials))
	case errors.Is(err, rights.ErrNotConfined):
		return failed(s.installCommand(), "%s", err)
	case errors.Is(err, kubeclient.ErrMayNotActAsAKD):
		return skipped("your user may not %s of the remote cluster", rights.ToActAsAKD(s.Remote))
	case apierrors.IsForbidden(err):
		return warning(s.installCommand(), "akd was refused, but not by a policy: %s", err)
	default:
		return unknown(err)
	}
}

// ownNamespace returns one of the node's remote namespaces that is in use, or
// nothing if there is none.
func ownNamespace(ctx context.Context, s *Subject, owner contract.Owner) (string, error) {
	selector := contract.LabelNodeName + "=" + owner.Node
	found, err := s.Remote.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return "", fmt.Errorf("list the node's remote namespaces: %w", err)
	}
	for i := range found.Items {
		namespace := &found.Items[i]
		if namespace.DeletionTimestamp == nil && owner.OwnsNamespace(namespace, namespace.Labels[contract.LabelNamespace]) == nil {
			return namespace.Name, nil
		}
	}
	return "", nil
}
