package translate

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// A denial by a policy of the remote cluster failed pods for good, and a ReplicaSet
// replaced them without end.
func TestIsInvalid(t *testing.T) {
	spec := field.NewPath("spec")
	first := spec.Child("containers").Index(0)
	validation := func(problems ...*field.Error) metav1.Status {
		return apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "web", problems).Status()
	}
	// As the API server does it, with the reason that policies have by default.
	policy := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "web",
		errors.New("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no")).Status()
	policy.Reason, policy.Code = metav1.StatusReasonInvalid, 422
	policy.Details.Causes = []metav1.StatusCause{{Message: "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"}}
	webhook := validation(field.Invalid(first.Child("image"), "web:1", "no"))
	webhook.Message = fmt.Sprintf("admission webhook %q denied the request: %s", "w.example.com", webhook.Message)
	bare := metav1.Status{Code: 422, Reason: metav1.StatusReasonInvalid, Message: `Pod "web" is invalid`}

	cases := map[string]struct {
		reason string
		answer metav1.Status
		want   bool
	}{
		"Validation": {
			reason: "no retry makes a field valid", answer: validation(field.Invalid(first.Child("image"), "web:1", "no")), want: true,
		},
		"Required": {reason: "nor fills it in", answer: validation(field.Required(first.Child("command"), "")), want: true},
		"One": {
			reason: "one such field is enough",
			answer: validation(field.Required(spec.Child("x", "y"), ""),
				field.NotSupported(spec.Child("restartPolicy"), "Maybe", []string{"Never"})),
			want: true,
		},
		"Key": {
			reason: "keys have dots",
			answer: validation(field.Invalid(spec.Child("nodeSelector").Key("example.com/pool"), "a b", "no")),
			want:   true,
		},
		"Policy":    {reason: "a policy names no field", answer: policy},
		"Webhook":   {reason: "a webhook can claim anything", answer: webhook},
		"NoDetails": {reason: "nobody knows who said that", answer: bare},
		"Injected": {
			reason: "akd sent one container",
			answer: validation(field.Required(spec.Child("containers").Index(1).Child("image"), "")),
		},
		"InjectedList": {
			reason: "akd sent no volumes",
			answer: validation(field.Invalid(spec.Child("volumes").Index(0).Child("name"), "", "no")),
		},
		"Sizes": {
			reason: "a LimitRange set the limit",
			answer: validation(field.Invalid(first.Child("resources", "requests"), "2Gi", "must be less than or equal to memory limit of 1Gi")),
		},
		"Metadata": {
			reason: "a webhook added the label",
			answer: validation(field.Invalid(field.NewPath("metadata", "labels"), "a b", "no")),
		},
		"OtherKind": {
			reason: "not about the pod",
			answer: apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "web", field.ErrorList{field.Required(spec, "")}).Status(),
		},
		"Forbidden": {
			reason: "a quota may have room later",
			answer: apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "web", errors.New("exceeded quota")).Status(),
		},
	}
	sent := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{
			RestartPolicy: "Maybe",
			NodeSelector:  map[string]string{"example.com/pool": "a b"},
			Containers:    []corev1.Container{{Name: "main", Image: "web:1"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := IsInvalid(sent, tc.answer); got != tc.want {
				t.Errorf("%s: IsInvalid = %v, want %v: %+v", tc.reason, got, tc.want, tc.answer)
			}
		})
	}
}

// Whatever a remote cluster answers: akd goes on, and an answer that is not 422 is
// never final.
func FuzzIsInvalid(f *testing.F) {
	f.Add([]byte(`{"code":422,"reason":"Invalid","message":"Pod \"web\" is invalid","details":{"kind":"Pod","name":"web"}}`),
		"spec.a[0].b[c.d/e]")
	f.Add([]byte(`{}`), "spec.containers[")
	f.Fuzz(func(t *testing.T, data []byte, path string) {
		var answer metav1.Status
		if json.Unmarshal(data, &answer) != nil {
			t.Skip()
		}
		if answer.Details != nil {
			answer.Details.Causes = append(answer.Details.Causes, metav1.StatusCause{Type: "FieldValueInvalid", Field: path})
		}
		sent := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}}}
		if IsInvalid(sent, answer) && answer.Code != 422 {
			t.Errorf("%+v is final", answer)
		}
	})
}
