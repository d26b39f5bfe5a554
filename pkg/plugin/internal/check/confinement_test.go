package check

import (
	"errors"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/manifests"
)

func TestPoliciesPresent(t *testing.T) {
	t.Parallel()
	const install = "kubectl actual install vk --remote-context=there"
	values := manifests.Values{Node: "vk", ClusterUID: "here"}
	names, err := policyNames(values)
	if err != nil || len(names) == 0 {
		t.Fatalf("the node has %d policies, %v", len(names), err)
	}
	cases := map[string]struct {
		reason     string
		change     func(*admissionregistrationv1.ValidatingAdmissionPolicy, *admissionregistrationv1.ValidatingAdmissionPolicyBinding)
		level      Level
		found, fix string
	}{
		"Present": {
			reason: "as installed",
			change: func(*admissionregistrationv1.ValidatingAdmissionPolicy, *admissionregistrationv1.ValidatingAdmissionPolicyBinding) {
			},
			level: LevelOK, found: "each bound to deny",
		},
		"No policy": {
			reason: "somebody deleted it",
			change: func(policy *admissionregistrationv1.ValidatingAdmissionPolicy, _ *admissionregistrationv1.ValidatingAdmissionPolicyBinding) {
				policy.Name = "other"
			},
			level: LevelFailed,
			found: "policy " + names[0] + " is missing",
			fix:   install,
		},
		"Ignores failures": {
			reason: "what it cannot evaluate would pass",
			change: func(policy *admissionregistrationv1.ValidatingAdmissionPolicy, _ *admissionregistrationv1.ValidatingAdmissionPolicyBinding) {
				policy.Spec.FailurePolicy = new(admissionregistrationv1.Ignore)
			},
			level: LevelFailed,
			found: "admits what it cannot evaluate",
			fix:   install,
		},
		"Warns": {
			reason: "a warning stops nobody",
			change: func(_ *admissionregistrationv1.ValidatingAdmissionPolicy, binding *admissionregistrationv1.ValidatingAdmissionPolicyBinding) {
				binding.Spec.ValidationActions = []admissionregistrationv1.ValidationAction{admissionregistrationv1.Warn}
			},
			level: LevelFailed,
			found: "binding " + names[0] + " does not deny",
			fix:   install,
		},
		"Narrowed": {
			reason: "elsewhere it does not hold",
			change: func(_ *admissionregistrationv1.ValidatingAdmissionPolicy, binding *admissionregistrationv1.ValidatingAdmissionPolicyBinding) {
				binding.Spec.MatchResources = &admissionregistrationv1.MatchResources{}
			},
			level: LevelFailed,
			found: "does not deny everywhere",
			fix:   install,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var remote []runtime.Object
			for i, name := range names {
				policy, binding := policyAndBinding(name)
				if i == 0 {
					tc.change(policy, binding)
				}
				remote = append(remote, policy, binding)
			}
			s := subject(nil, remote)
			s.Node.Values = values
			expect(t, tc.reason, policiesPresent(t.Context(), s), tc.level, tc.found, tc.fix)
		})
	}
}

func policyAndBinding(name string) (
	*admissionregistrationv1.ValidatingAdmissionPolicy, *admissionregistrationv1.ValidatingAdmissionPolicyBinding,
) {
	meta := metav1.ObjectMeta{Name: name}
	return &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: meta},
		&admissionregistrationv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: meta,
			Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
				PolicyName:        name,
				ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			},
		}
}

func TestDeniedByPodSecurity(t *testing.T) {
	t.Parallel()
	pods := corev1.Resource("pods")
	cases := map[string]struct {
		reason string
		err    error
		want   bool
	}{
		"PodSecurity": {
			reason: "its own words",
			err:    apierrors.NewForbidden(pods, "check-x", errors.New(`violates PodSecurity "restricted:latest": privileged`)),
			want:   true,
		},
		"Quota":   {reason: "another admission plugin", err: apierrors.NewForbidden(pods, "check-x", errors.New("exceeded quota"))},
		"Invalid": {reason: "a validation error is not a denial", err: apierrors.NewBadRequest("violates PodSecurity")},
		"Network": {reason: "no answer is no denial", err: errors.New("connection refused")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := deniedByPodSecurity(tc.err); got != tc.want {
				t.Errorf("%s: got %t", tc.reason, got)
			}
		})
	}
}
