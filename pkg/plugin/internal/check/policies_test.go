package check

import (
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/manifests"
)

type (
	policy  = admissionregistrationv1.ValidatingAdmissionPolicy
	binding = admissionregistrationv1.ValidatingAdmissionPolicyBinding
)

// A policy that somebody deleted, weakened or narrowed is found and named.
func TestPoliciesPresent(t *testing.T) {
	t.Parallel()
	const install = "kubectl actual install vk --remote-context=there"
	values := manifests.Values{Node: "vk", ClusterUID: "here"}
	cases := map[string]struct {
		reason string
		policy func(*policy)
		bound  func(*binding)
		found  string // empty: as installed
	}{
		"Present": {reason: "as installed"},
		"No policy": {
			reason: "somebody deleted it",
			policy: func(p *policy) { p.Name = "other" },
			found:  "policy namespaces.actual.vk is missing",
		},
		"Ignores failures": {
			reason: "what it cannot evaluate would pass",
			policy: func(p *policy) { p.Spec.FailurePolicy = new(admissionregistrationv1.Ignore) },
			found:  "policy namespaces.actual.vk is not the one of this version",
		},
		"Shorter": {
			reason: "what nothing asks for passes",
			policy: func(p *policy) { p.Spec.Validations = p.Spec.Validations[1:] },
			found:  "policy namespaces.actual.vk is not the one of this version",
		},
		"Exempts": {
			reason: "some names pass",
			policy: func(p *policy) {
				p.Spec.MatchConstraints.ExcludeResourceRules = []admissionregistrationv1.NamedRuleWithOperations{{ResourceNames: []string{"x"}}}
			},
			found: "policy namespaces.actual.vk is not the one of this version",
		},
		"No binding": {reason: "nothing asks it", bound: func(b *binding) { b.Name = "other" }, found: "binding namespaces.actual.vk is missing"},
		"Warns": {
			reason: "a warning stops nobody",
			bound: func(b *binding) {
				b.Spec.ValidationActions = []admissionregistrationv1.ValidationAction{admissionregistrationv1.Warn}
			},
			found: "binding namespaces.actual.vk does not deny all that it should",
		},
		"Narrowed": {
			reason: "elsewhere it does not hold",
			bound:  func(b *binding) { b.Spec.MatchResources = &admissionregistrationv1.MatchResources{} },
			found:  "binding namespaces.actual.vk does not deny all that it should",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := subject(nil, installedPolicies(t, values, tc.policy, tc.bound))
			s.Node.Values = values
			if tc.found == "" {
				expect(t, tc.reason, policiesPresent(t.Context(), s), LevelOK, "each bound to deny", "")
				return
			}
			expect(t, tc.reason, policiesPresent(t.Context(), s), LevelFailed, tc.found, install)
		})
	}
}

// installedPolicies returns what install applies, with a change of the policy of
// namespaces and its binding.
func installedPolicies(t *testing.T, values manifests.Values, change func(*policy), rebind func(*binding)) []runtime.Object {
	t.Helper()
	objects, err := manifests.Remote(values)
	if err != nil {
		t.Fatal(err)
	}
	var remote []runtime.Object
	for _, object := range objects {
		var typed metav1.Object
		switch object.GetKind() {
		case "ValidatingAdmissionPolicy":
			typed = &policy{}
		case "ValidatingAdmissionPolicyBinding":
			typed = &binding{}
		default:
			continue
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, typed); err != nil {
			t.Fatal(err)
		}
		switch typed := typed.(type) {
		case *policy:
			setDefaults(typed.Spec.MatchConstraints)
			if typed.Name == "namespaces.actual.vk" && change != nil {
				change(typed)
			}
			remote = append(remote, typed)
		case *binding:
			setDefaults(typed.Spec.MatchResources)
			if typed.Name == "namespaces.actual.vk" && rebind != nil {
				rebind(typed)
			}
			remote = append(remote, typed)
		}
	}
	return remote
}
