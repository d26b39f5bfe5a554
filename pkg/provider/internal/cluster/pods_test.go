package cluster

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// Under churn, one pod in a hundred was bound so recently that the API server's
// own caches did not contain it yet. Such a pod waited for a retry of its
// reconcile.
func TestTokenOfFreshPod(t *testing.T) {
	t.Parallel()
	account := schema.GroupResource{Resource: "serviceaccounts"}
	unknown := []error{
		apierrors.NewForbidden(account, "default", errors.New("no relationship found between node 'ak' and this object")),
		apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "web"),
	}
	cases := map[string]struct {
		reason  string
		answers []error
		want    func(error) bool
		known   bool
	}{
		"Caches":  {"They lag by milliseconds.", unknown, func(err error) bool { return err == nil }, false},
		"Refusal": {"One that lasts is believed.", slices.Repeat(unknown[:1], 6), apierrors.IsForbidden, false},
		"Known":   {"A lasting refusal is not asked about again at once.", unknown[:1], apierrors.IsForbidden, true},
		"Other": {
			"Everything else is for the queue.", []error{apierrors.NewInternalError(errors.New("etcd"))}, apierrors.IsInternalError, false,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, requests := fake.NewClientset(), 0
				client.PrependReactor("create", "serviceaccounts", func(clienttesting.Action) (bool, runtime.Object, error) {
					requests++
					if requests <= len(tc.answers) {
						return true, nil, tc.answers[requests-1]
					}
					return true, &authenticationv1.TokenRequest{}, nil
				})
				local := NewLocal(Clients{Node: client}, "ak")
				pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "u"}}
				if _, err := local.RequestToken(t.Context(), pod, translate.Token{}, tc.known); !tc.want(err) {
					t.Errorf("%s: after %d requests: %v", tc.reason, requests, err)
				}
			})
		})
	}
}

// An API server finds another UID in a patch only when it validates the result, as
// testdata/answers.txtar of podsync has it.
func TestIsNotFoundOrConflict(t *testing.T) {
	t.Parallel()
	invalid := func(path string) error {
		immutable := field.Invalid(field.NewPath(path), "u", "field is immutable")
		return apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "web", field.ErrorList{immutable})
	}
	cases := map[string]struct {
		err  error
		want bool
	}{
		"other UID in a patch": {fmt.Errorf("patch: %w", invalid("metadata.uid")), true},
		"another field":        {invalid("spec.containers"), false},
		"other UID":            {apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, "web", errors.New("no")), true},
		"none":                 {nil, false},
	}
	for name, tc := range cases {
		if got := IsNotFoundOrConflict(tc.err); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
