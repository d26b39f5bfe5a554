package cluster

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// A policy of the remote cluster demanded a label of every namespace, and nobody knew how
// to give it. Answers are as API servers and the webhooks of Gatekeeper and Kyverno give
// them.
func TestDeniedNamespace(t *testing.T) {
	t.Parallel()
	const name = "n1-93104c7ea350e1e1"
	namespaces := corev1.Resource("namespaces")
	byPolicy := func(reason metav1.StatusReason, code int32) error {
		const message = "ValidatingAdmissionPolicy 'owners' with binding 'owners' denied request: every namespace has an owner"
		answer := apierrors.NewForbidden(namespaces, name, errors.New(message))
		answer.ErrStatus.Reason, answer.ErrStatus.Code = reason, code
		answer.ErrStatus.Details.Causes = []metav1.StatusCause{{Message: message}}
		return answer
	}
	byWebhook := func(reason metav1.StatusReason, code int32, message string) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Reason: reason, Code: code, Message: message}}
	}
	cases := map[string]struct {
		reason string
		answer error
		hint   bool
	}{
		"Policy":        {"The reason that policies have by default.", byPolicy(metav1.StatusReasonInvalid, 422), true},
		"PolicyForbids": {"The reason of AK's own.", byPolicy(metav1.StatusReasonForbidden, 403), true},
		"Gatekeeper": {
			"A webhook that says why.",
			byWebhook(metav1.StatusReasonForbidden, 403, `admission webhook "validation.gatekeeper.sh" denied the request: `+
				`[owners] you must provide labels: {"owner"}`), true,
		},
		"Kyverno": {
			"A webhook without a reason.",
			byWebhook("", 400, `admission webhook "validate.kyverno.svc-fail" denied the request: require-labels: label owner is required`), true,
		},
		"Plugin": {"A plugin of the API server.", apierrors.NewForbidden(namespaces, name, errors.New("no more namespaces")), true},
		"Rights": {"A label would not help.", apierrors.NewForbidden(namespaces, "", errors.New(`User "x" cannot create`)), false},
		"Validation": {
			"Nor here.", apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Namespace").GroupKind(), name, field.ErrorList{
				field.Invalid(field.NewPath("metadata", "labels"), "a b", "no"),
			}), false,
		},
		"Exists":  {"Nor here.", apierrors.NewAlreadyExists(namespaces, name), false},
		"Later":   {"Nor here.", apierrors.NewTooManyRequests("later", 1), false},
		"Webhook": {"Nor if the webhook does not answer.", apierrors.NewInternalError(errors.New("failed calling webhook")), false},
		"Network": {"Nor here.", errors.New("connection refused"), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := fake.NewClientset()
			client.PrependReactor("create", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, tc.answer })
			remote := NewRemote(client, contract.Owner{Node: "n1"})
			_, err := remote.CreateNamespace(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
			if !errors.Is(err, tc.answer) || !strings.Contains(err.Error(), tc.answer.Error()) {
				t.Errorf("%s: the cause is lost: %v", tc.reason, err)
			}
			if got := strings.Contains(err.Error(), "kubectl actual install --namespace-label and --namespace-annotation"); got != tc.hint {
				t.Errorf("%s: names the flags: %v, want %v: %v", tc.reason, got, tc.hint, err)
			}
		})
	}
}
