package store

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// worded returns a pod that shares no strings with another, like a decoded pod.
func worded(name string) *corev1.Pod {
	text := func(s string) string { return string([]byte(s)) }
	now := metav1.NewTime(time.Unix(1, 0))
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID(text("uid-" + name)), CreationTimestamp: now,
			Labels: map[string]string{text("app"): text("web")}, Annotations: map[string]string{},
		},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: text("main"), Command: []string{text("sh"), text("-c")},
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: apiresource.MustParse("100m")}},
			}},
			SecurityContext: &corev1.PodSecurityContext{},
		},
		Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodConditionType(text("Ready")), LastTransitionTime: now}}},
	}
}

// 10,000 pods used 271 MiB, much of it for equal strings and the gaps between
// them.
func TestInternerAreShared(t *testing.T) {
	t.Parallel()
	w := NewInterner()
	a, b := worded("a"), worded("b")
	w.Share(a)
	w.Share(b)
	if diff := cmp.Diff([]*corev1.Pod{worded("a"), worded("b")}, []*corev1.Pod{a, b}); diff != "" {
		t.Errorf("sharing changed the pods (-want +got):\n%s", diff)
	}
	for what, texts := range map[string][2]string{
		"command":   {a.Spec.Containers[0].Command[1], b.Spec.Containers[0].Command[1]},
		"label":     {a.Labels["app"], b.Labels["app"]},
		"condition": {string(a.Status.Conditions[0].Type), string(b.Status.Conditions[0].Type)},
	} {
		if unsafe.StringData(texts[0]) != unsafe.StringData(texts[1]) { //nolint:gosec // only compared
			t.Errorf("the two pods do not share their %s", what)
		}
	}
	for i := range 2 * mostTexts {
		w.Share(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i)}})
	}
	if len(w.known) > mostTexts {
		t.Errorf("%d words are kept, want %d at most", len(w.known), mostTexts)
	}
}

func BenchmarkWords(b *testing.B) {
	w := NewInterner()
	pod := worded("a")
	b.ReportAllocs()
	for b.Loop() {
		w.Share(pod)
	}
}
