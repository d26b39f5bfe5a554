package kubeclient

import (
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Refusal is by what an API server refused a request.
type Refusal string

// Refusals.
const (
	// NotRefused is a success, or an error that is no refusal.
	NotRefused Refusal = ""
	// RefusedByPolicy is by a ValidatingAdmissionPolicy.
	RefusedByPolicy Refusal = "policy"
	// RefusedByAdmission is by another admission plugin, such as PodSecurity.
	RefusedByAdmission Refusal = "admission"
	// RefusedToImpersonate is for lack of the right to impersonate somebody.
	RefusedToImpersonate Refusal = "impersonation"
	// RefusedForRights is for lack of the right to do what was requested.
	RefusedForRights Refusal = "rights"
)

// RefusalOf tells by what the creation of an object of a resource, such as pods,
// was refused. The object must have a name to be generated (generateName): the
// answer is in the details of the error's Status, as API servers fill them in.
//
//   - A policy's denial is a cause with a message alone; causes of validation have
//     a type and a field.
//   - Authorization knows no name of an object that is to be created; admission
//     takes generateName for it.
//   - The right to impersonate is one to another resource: serviceaccounts, users
//     or groups.
//
// https://github.com/kubernetes/apiserver/blob/v0.37.1/pkg/admission/plugin/policy/validating/dispatcher.go
// https://github.com/kubernetes/apiserver/blob/v0.37.1/pkg/admission/errors.go
// https://github.com/kubernetes/apiserver/blob/v0.37.1/pkg/endpoints/filters/impersonation/mode.go
func RefusalOf(err error, resource string) Refusal {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return NotRefused
	}
	details := status.Status().Details
	for _, cause := range details.Causes {
		if cause.Type == "" && cause.Field == "" && cause.Message != "" {
			return RefusedByPolicy
		}
	}
	switch {
	case status.Status().Reason != metav1.StatusReasonForbidden:
		return NotRefused
	case details.Kind != resource:
		return RefusedToImpersonate
	case details.Name != "":
		return RefusedByAdmission
	default:
		return RefusedForRights
	}
}
