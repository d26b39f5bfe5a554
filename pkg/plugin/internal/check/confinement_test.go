package check

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

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
