package mirror

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// queued records the pods that are queued.
type queued struct {
	mu   sync.Mutex
	pods []string
}

func (q *queued) Add(k queue.Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if k.Kind == queue.Pod {
		q.pods = append(q.pods, k.Namespace+"/"+k.Name)
	}
}

func (q *queued) AddAfter(k queue.Key, _ time.Duration) { q.Add(k) }

// take returns the pods that were queued since the last call, sorted.
func (q *queued) take() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	pods := slices.Sorted(slices.Values(q.pods))
	q.pods = nil
	return pods
}

// referencesTest is a References with room for 20 objects.
type referencesTest struct {
	*References
	*queued
}

func newReferencesTest(t *testing.T) *referencesTest {
	t.Helper()
	q := &queued{}
	client := fake.NewClientset()
	r := NewReferences(ReferencesConfig{
		Local: cluster.NewLocal(cluster.Clients{Node: client}, "node"), Queue: q, Linger: time.Minute, Limit: 20,
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return &referencesTest{r, q}
}

func podNamed(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// secrets returns needs for n Secrets of that prefix.
func secrets(prefix string, n int) translate.Needs {
	var needs translate.Needs
	for i := range n {
		needs.Secrets = append(needs.Secrets, fmt.Sprintf("%s-%03d", prefix, i))
	}
	return needs
}

// check fails the test unless the number of watches is right and exactly those
// pods wait.
func (r *referencesTest) check(t *testing.T, event string, watches int, waiting ...types.NamespacedName) {
	t.Helper()
	synctest.Wait()
	_, configMaps := r.ConfigMaps.count("")
	_, secrets := r.Secrets.count("")
	if configMaps+secrets != watches {
		t.Errorf("%s: %d watches, want %d", event, configMaps+secrets, watches)
	}
	var got []types.NamespacedName
	for _, pod := range waiting {
		if refusal := r.Waiting(pod); refusal != nil {
			got = append(got, pod)
			if refusal.Reason != translate.ReasonReferencesExhausted {
				t.Errorf("%s: pod %s is told %s", event, pod, refusal.Reason)
			}
		}
	}
	if diff := cmp.Diff(waiting, got); diff != "" || len(r.needs) != len(waiting) {
		t.Errorf("%s: %d pods wait (-want +got):\n%s", event, len(r.needs), diff)
	}
}

// A pod with ten thousand optional references opened as many watches: akd lost
// its lease, and the node was not ready for anybody.
func TestReferencesAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReferencesTest(t)
		greedy, more, honest, late := podNamed("a", "greedy"), podNamed("a", "more"), podNamed("b", "honest"), podNamed("c", "late")
		r.Use(greedy, secrets("a", 10))
		r.check(t, "a namespace alone has half of them", 10)
		r.Use(more, secrets("more", 1))
		r.check(t, "and no more", 10, more)
		r.Use(honest, secrets("b", 5))
		r.check(t, "another one has half of what is left", 15, more)
		r.Use(late, secrets("c", 3))
		r.check(t, "and so on", 15, more, late)
		r.Use(podNamed("a", "second"), secrets("a", 10))
		r.check(t, "objects that are watched already cost nothing", 15, more, late)
		r.take()

		r.Use(greedy, translate.Needs{})
		r.Use(podNamed("a", "second"), translate.Needs{})
		<-time.After(2 * time.Minute)
		r.check(t, "both have room when the first has gone", 9)
		if diff := cmp.Diff([]string{"a/more", "c/late"}, r.take()); diff != "" {
			t.Errorf("queued (-want +got):\n%s", diff)
		}
		r.Use(more, translate.Needs{})
		r.Use(podNamed("a", "next"), secrets("next", 6))
		r.check(t, "what lingers gives way to pods of its namespace", 14)
	})
}

// A pod that waits and is deleted waits no more, and one that already runs keeps
// what it has.
func TestReferencesWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReferencesTest(t)
		old, grown, gone := podNamed("a", "old"), podNamed("a", "grown"), podNamed("a", "gone")
		r.Adopt(old, secrets("old", 15))
		r.check(t, "an earlier akd has admitted it", 15)
		r.Use(old, secrets("old", 15))
		r.Use(gone, secrets("gone", 1))
		r.check(t, "nothing is left", 15, gone)
		r.Use(gone, translate.Needs{})
		r.check(t, "a deleted pod does not wait", 15)
		r.Use(old, secrets("old", 2))
		<-time.After(2 * time.Minute)
		r.Use(grown, secrets("grown", 2))
		r.check(t, "there is room", 4)
		r.Use(grown, secrets("grown", 12))
		r.check(t, "an ephemeral container refers to more", 4, grown)
		if observed := r.Secrets.Observe("a", "grown-001"); !observed.Used {
			t.Error("the pod has lost what it had")
		}
	})
}

// A restart of the API server, or a thousand pods that start, made akd open all
// watches at once: renewals of the node's lease waited behind them.
func TestWatchesBeginInGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most, total := 0, 0, 0
		source := func(namespace, name string) store.ListWatch {
			watched := settingsSource(namespace, name)
			list := watched.List
			watched.List = func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
				mu.Lock()
				now++
				total++
				most = max(most, now)
				mu.Unlock()
				<-time.After(time.Second)
				mu.Lock()
				now--
				mu.Unlock()
				return list(ctx, opts)
			}
			return watched
		}
		w := NewWatcher[*corev1.ConfigMap](source, func(string, string) {}, 0)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.Run(ctx); close(done) }()
		w.Use(podNamed("a", "many"), secrets("many", 200).Secrets)
		<-time.After(time.Minute)
		stop()
		<-done
		if total != 200 || most != openingAtOnce {
			t.Errorf("%d lists, %d at a time; want 200, and %d at a time", total, most, openingAtOnce)
		}
	})
}
