package podsync

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A webhook that denies without a reason, as Kyverno's does, passed for an outage of the
// remote cluster.
func TestReasonFor(t *testing.T) {
	denied := &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    400,
		Message: `admission webhook "validate.kyverno.svc-fail" denied the request: label owner is required`,
	}}
	for _, tc := range []struct {
		err  error
		want string
	}{
		{denied, "RemoteForbidden"},
		{fmt.Errorf("create remote namespace n: %w", denied), "RemoteForbidden"},
		{apierrors.NewForbidden(corev1.Resource("pods"), "web", errors.New("no")), "RemoteForbidden"},
		{apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Pod").GroupKind(), "web", nil), "RemoteInvalid"},
		{apierrors.NewInternalError(errors.New("no")), "RemoteInternalError"},
		{&apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 502, Message: "bad gateway"}}, "RemoteUnavailable"},
		{errors.New("connection refused"), "RemoteUnavailable"},
	} {
		if got := reasonFor(tc.err); got != tc.want {
			t.Errorf("%v: %s, want %s", tc.err, got, tc.want)
		}
	}
}
