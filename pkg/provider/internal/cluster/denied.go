package cluster

import (
	"errors"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// deniedByAdmission reports whether a policy, a webhook or another plugin of admission
// denied the creation of an object, rather than authorization or validation.
//
//   - A webhook answers with what it likes: usually 400 or 403 without details.
//   - A policy's denial, of whatever reason, has a cause that is a message alone;
//     causes of validation have a type and a field.
//   - Authorization knows no name of an object that is to be created; admission does.
//
// https://github.com/kubernetes/apiserver/blob/v0.37.1/pkg/admission/plugin/webhook/errors/statuserror.go
// https://github.com/kubernetes/apiserver/blob/v0.37.1/pkg/admission/plugin/policy/validating/dispatcher.go
// https://github.com/kubernetes/apiserver/blob/v0.37.1/pkg/admission/errors.go
func deniedByAdmission(err error) bool {
	answer, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		return false
	}
	status := answer.Status()
	switch status.Code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity:
	default:
		return false
	}
	details := status.Details
	if details == nil || slices.ContainsFunc(details.Causes, isMessageAlone) {
		return true
	}
	return status.Code == http.StatusForbidden && details.Name != ""
}

func isMessageAlone(cause metav1.StatusCause) bool {
	return cause.Type == "" && cause.Field == "" && cause.Message != ""
}
