package podsync

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
)

// A pod that has started was sent, if not by this akd then by one that led meanwhile.
func TestUnsent(t *testing.T) {
	t.Parallel()
	bound := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "1"}}
	started := bound.DeepCopy()
	started.Status.StartTime = &metav1.Time{}
	index := newPodIndex(clock.RealClock{})
	index.observe(store.Change[*corev1.Pod]{New: bound, Watched: true})
	if !index.isUnsent("1") {
		t.Error("a pod that was just bound counts as sent")
	}
	index.observe(store.Change[*corev1.Pod]{Old: bound, New: started, Watched: true})
	if index.isUnsent("1") {
		t.Error("a pod that has started counts as unsent")
	}
}
