package mirror

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
)

// Objects of the last pod are kept for its replacement, and no longer than
// that.
func TestWatcherLingers(t *testing.T) {
	t.Parallel()
	const linger = time.Minute
	tests := map[string]struct {
		reason  string
		refused bool // the server refuses reads while no pod refers to it
		away    time.Duration
		reads   int  // number of reads in total, for one pod and the next
		kept    bool // just before the next pod comes
	}{
		"next comes soon": {reason: "it is not read again", away: linger / 2, reads: 1, kept: true},
		"next comes late": {reason: "nothing is watched that no pod refers to", away: 2 * linger, reads: 2},
		"refused meantime": {
			reason:  "a refusal while no pod referred to it says nothing about the next",
			refused: true,
			away:    linger / 2,
			reads:   2,
			kept:    true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				reads := 0
				source := func(namespace, name string) store.ListWatch {
					reads++
					return settingsSource(namespace, name)
				}
				r := NewWatcher[*corev1.ConfigMap](source, func(string, string) {}, linger)
				done := make(chan struct{})
				go func() { r.Run(ctx); close(done) }()
				pod, next := types.NamespacedName{Namespace: "ns", Name: "a"}, types.NamespacedName{Namespace: "ns", Name: "b"}

				r.Use(pod, []string{"settings"})
				synctest.Wait()
				r.Use(pod, nil)
				if tt.refused {
					r.objects[types.NamespacedName{Namespace: "ns", Name: "settings"}].objects.
						NoteRefusal(apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "settings", nil))
				}
				<-time.After(tt.away)
				synctest.Wait()
				if got := r.Observe("ns", "settings"); got.Used != tt.kept || (got.Object != nil) != tt.kept {
					t.Errorf("%s: kept %v with object %v, want %v", tt.reason, got.Used, got.Object, tt.kept)
				}
				r.Use(next, []string{"settings"})
				<-time.After(2 * linger)
				synctest.Wait()
				if got := r.Observe("ns", "settings"); got.Object == nil || got.Refused != nil {
					t.Errorf("the next pod's: object %v, refused %v; want it read", got.Object, got.Refused)
				}
				if reads != tt.reads {
					t.Errorf("%s: read %d times, want %d", tt.reason, reads, tt.reads)
				}
				stop()
				<-done
			})
		})
	}
}

// settingsSource is the source of a ConfigMap that exists and never changes.
func settingsSource(namespace, name string) store.ListWatch {
	found := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, ResourceVersion: "1"}}
	return store.ListWatch{
		Name:   name,
		Server: store.Server{Client: fake.NewClientset(), Timeline: store.NewTimeline()},
		List: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return &corev1.ConfigMapList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []corev1.ConfigMap{found}}, nil
		},
		Watch: func(ctx context.Context, _ metav1.ListOptions) (watch.Interface, error) {
			w := watch.NewFake()
			context.AfterFunc(ctx, w.Stop)
			return w, nil
		},
	}
}
