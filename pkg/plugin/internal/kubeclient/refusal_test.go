package kubeclient

import (
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The answers are those of an API server of Kubernetes 1.37 to the creation of a
// namespace with generateName.
func TestRefusalOf(t *testing.T) {
	namespaces := schema.GroupResource{Resource: "namespaces"}
	admitted := func(causes ...metav1.StatusCause) error {
		err := apierrors.NewForbidden(namespaces, "not-a-tenants-", errors.New("denied"))
		err.ErrStatus.Details.Causes = causes
		return err
	}
	policy := metav1.StatusCause{Message: "ValidatingAdmissionPolicy 'a' with binding 'a' denied request: no"}
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "Namespace"}, "x", field.ErrorList{field.Required(field.NewPath("metadata"), "")})
	cases := map[string]struct {
		reason string
		err    error
		want   Refusal
	}{
		"Success":     {reason: "nobody refused it", want: NotRefused},
		"Policy":      {reason: "its cause is a message alone", err: admitted(policy), want: RefusedByPolicy},
		"Wrapped":     {reason: "an error may be wrapped", err: fmt.Errorf("try: %w", admitted(policy)), want: RefusedByPolicy},
		"Admission":   {reason: "admission knows the name to be generated", err: admitted(), want: RefusedByAdmission},
		"Rights":      {reason: "authorization does not", err: apierrors.NewForbidden(namespaces, "", errors.New("no")), want: RefusedForRights},
		"Invalid":     {reason: "a cause of validation has a field", err: invalid, want: NotRefused},
		"Unreachable": {reason: "no answer is no refusal", err: errors.New("no route to host"), want: NotRefused},
		"Impersonation": {
			reason: "another resource than the requested one",
			err:    apierrors.NewForbidden(schema.GroupResource{Resource: "serviceaccounts"}, "vk", errors.New("no")),
			want:   RefusedToImpersonate,
		},
		"Unauthorized": {reason: "nor is a login that has expired", err: apierrors.NewUnauthorized("who?"), want: NotRefused},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := RefusalOf(tc.err, "namespaces"); got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
