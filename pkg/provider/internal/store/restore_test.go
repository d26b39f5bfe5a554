package store

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// history is an API server of pods that can be restored from a backup. As real
// ones do, it accepts a watch from a version that does not exist yet.
type history struct {
	mu      sync.Mutex
	version int
	pods    map[string]*corev1.Pod
	events  []watch.Event // after version compacted
	since   int
	live    []*watch.FakeWatcher
	lists   int
	refuse  int // so many of the next lists are forbidden
}

func newHistory() *history { return &history{pods: map[string]*corev1.Pod{}} }

// backup is what an etcd snapshot holds.
type backup struct {
	version int
	pods    map[string]*corev1.Pod
}

func (h *history) backup() backup {
	h.mu.Lock()
	defer h.mu.Unlock()
	return backup{version: h.version, pods: maps.Clone(h.pods)}
}

// restore goes back to a backup, at a version that is higher by skipped, and
// restarts the API server.
func (h *history) restore(from backup, skipped int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.version, h.pods, h.events = from.version+skipped, maps.Clone(from.pods), nil
	h.since = h.version
	for _, w := range h.live {
		w.Stop()
	}
	h.live = nil
}

// interrupt ends all watches. It returns their number, and that of the lists so far.
func (h *history) interrupt() (lists, watches int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	watches = len(h.live)
	for _, w := range h.live {
		w.Stop()
	}
	h.live = nil
	return h.lists, watches
}

// put creates or changes a pod, and returns it as stored.
func (h *history) put(name, uid string) *corev1.Pod {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.version++
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: name, UID: types.UID(uid), ResourceVersion: strconv.Itoa(h.version),
	}}
	kind := watch.Added
	if h.pods[name] != nil {
		kind = watch.Modified
	}
	h.pods[name] = pod
	h.tellLocked(watch.Event{Type: kind, Object: pod})
	return pod.DeepCopy()
}

func (h *history) tellLocked(event watch.Event) {
	h.events = append(h.events, event)
	h.live = slices.DeleteFunc(h.live, (*watch.FakeWatcher).IsStopped)
	for _, w := range h.live {
		w.Action(event.Type, event.Object.DeepCopyObject())
	}
}

func (h *history) list(_ context.Context, _ metav1.ListOptions) (runtime.Object, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lists++
	if h.refuse > 0 {
		h.refuse--
		return nil, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)
	}
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(h.version)}}
	for _, pod := range h.pods {
		list.Items = append(list.Items, *pod.DeepCopy())
	}
	return list, nil
}

func (h *history) watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	from, err := strconv.Atoi(opts.ResourceVersion)
	if err != nil {
		return nil, err
	}
	if from < h.since {
		return nil, apierrors.NewResourceExpired("too old resource version")
	}
	w := watch.NewFakeWithChanSize(100, false)
	for i, event := range h.events {
		if h.since+i+1 > from {
			w.Action(event.Type, event.Object.DeepCopyObject())
		}
	}
	if from <= h.version {
		h.live = append(h.live, w)
	}
	context.AfterFunc(ctx, w.Stop)
	return w, nil
}

func (h *history) source(timeline *Timeline) ListWatch {
	return ListWatch{
		Name:   "pods",
		List:   h.list,
		Watch:  h.watch,
		Server: Server{Client: unstreamed{}, Timeline: timeline},
	}
}

// unstreamed is a client that does not stream lists.
type unstreamed struct{}

func (unstreamed) IsWatchListSemanticsUnSupported() bool { return true }

// content returns "name=UID@version" for each pod.
func content(pods []*corev1.Pod) []string {
	var all []string
	for _, pod := range pods {
		all = append(all, pod.Name+"="+string(pod.UID)+"@"+pod.ResourceVersion)
	}
	slices.Sort(all)
	return all
}

// The etcd of a cluster is restored from a backup: what a cache knows from the
// lost time must not hide the present. Caches used to freeze: the API server
// reports nothing to a watch from a version that does not exist yet, and a list
// with earlier versions was ignored.
func TestRestore(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		lost   func(*history, *Store[*corev1.Pod]) // happens after the backup
		skip   int
		since  func(*history) // happens after the restore, before the watch is back
		want   []string
	}{
		"watch from the future": {
			reason: "pods that were created, changed or deleted in the lost time are as they were",
			lost: func(h *history, _ *Store[*corev1.Pod]) {
				h.put("changed", "2")
				h.put("created", "3")
				h.put("created", "3")
			},
			since: func(*history) {},
			want:  []string{"changed=2@2", "kept=1@1", "new=9@3"},
		},
		"result of a write": {
			reason: "what a write returned in the lost time counts no more",
			lost:   func(h *history, o *Store[*corev1.Pod]) { o.Put(h.put("created", "3")) },
			since:  func(*history) {},
			want:   []string{"changed=2@2", "kept=1@1", "new=9@3"},
		},
		"another pod of the name": {
			reason: "the same version belongs to another object now",
			lost:   func(h *history, _ *Store[*corev1.Pod]) { h.put("web", "3"); h.put("x", "4"); h.put("y", "5") },
			since:  func(h *history) { h.put("web", "7") },
			want:   []string{"changed=2@2", "kept=1@1", "new=9@4", "web=7@3"},
		},
		"skipped versions": {
			reason: "etcd can skip versions, so that the list is later, but its objects are earlier",
			lost:   func(h *history, _ *Store[*corev1.Pod]) { h.put("changed", "2"); h.put("created", "3") },
			skip:   1000,
			since:  func(*history) {},
			want:   []string{"changed=2@2", "kept=1@1", "new=9@1003"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ready, restores := 0, 0
				h, o := newHistory(), New(Handlers[*corev1.Pod]{Ready: func() { ready++ }})
				timeline := NewTimeline()
				timeline.Notify(func(string, string) { restores++ })
				h.put("kept", "1")
				h.put("changed", "2")
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { o.Run(ctx, h.source(timeline)); close(done) }()
				time.Sleep(time.Second) // in fake time
				from := h.backup()
				tc.lost(h, o)
				time.Sleep(time.Second) // in fake time
				h.restore(from, tc.skip)
				tc.since(h)
				time.Sleep(20 * time.Second) // in fake time
				h.put("new", "9")
				time.Sleep(time.Second) // in fake time
				if diff := cmp.Diff(tc.want, content(o.All())); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
				}
				if restores != 1 {
					t.Errorf("%d restores were reported, want 1", restores)
				}
				if ready < 2 {
					t.Errorf("was ready %d times, want again after the restore", ready)
				}
				stop()
				<-done
			})
		})
	}
}

// A restore that one cache proves counts for all caches of the cluster: in
// another, the lost versions may have been given away again by then.
func TestRestoreConcernsAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, other := newHistory(), newHistory()
		a, b := New(Handlers[*corev1.Pod]{}), New(Handlers[*corev1.Pod]{})
		timeline := NewTimeline()
		one.put("x", "1")
		other.put("x", "1")
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { a.Run(ctx, one.source(timeline)) })
		running.Go(func() { b.Run(ctx, other.source(timeline)) })
		time.Sleep(time.Second) // in fake time
		before, beforeOther := one.backup(), other.backup()
		one.put("x", "1")
		other.put("lost", "2")
		time.Sleep(time.Second) // in fake time
		other.restore(beforeOther, 0)
		other.put("present", "3")  // has the version of the lost one
		time.Sleep(2 * versionAge) // in fake time
		one.restore(before, 0)
		time.Sleep(20 * time.Second) // in fake time
		if diff := cmp.Diff([]string{"present=3@2", "x=1@1"}, content(b.All())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		stop()
		running.Wait()
	})
}

// An API server that has just started may forbid everything, because it has not
// read the roles yet. It used to answer the only question so, while it accepted a
// watch from the lost time, which then reported nothing for minutes.
func TestRestoreQuestionForbidden(t *testing.T) {
	t.Parallel()
	h, o, timeline := newHistory(), New(Handlers[*corev1.Pod]{}), NewTimeline()
	restores := 0
	timeline.Notify(func(string, string) { restores++ })
	o.Put(h.put("kept", "1"))
	from := h.backup()
	h.put("lost", "2")
	o.Put(h.put("lost", "2"))
	h.restore(from, 0)
	h.refuse = 1
	r := &reflection[*corev1.Pod]{Store: o, src: h.source(timeline), epoch: timeline.epoch, suspect: true}
	if _, err := r.watch(t.Context(), metav1.ListOptions{ResourceVersion: "3"}); !apierrors.IsForbidden(err) {
		t.Errorf("the watch: %v, want the refusal of the question", err)
	}
	list, err := r.list(t.Context(), metav1.ListOptions{ResourceVersion: "3"})
	if err != nil {
		t.Fatal(err)
	}
	kept := list.(*corev1.PodList)
	if err := r.Replace([]any{&kept.Items[0]}, kept.ResourceVersion); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"kept=1@1"}, content(o.All())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if restores != 1 {
		t.Errorf("%d restores were reported, want 1", restores)
	}
}

// A refusal concerns the store that has asked: one of another namespace, which is
// gone, used to answer for all others.
func TestRefusalIsNotShared(t *testing.T) {
	t.Parallel()
	h, timeline := newHistory(), NewTimeline()
	h.put("x", "1")
	h.refuse = 1
	before := time.Now().Add(-time.Minute)
	if _, err := timeline.current(t.Context(), "pods", before, h.list); !apierrors.IsForbidden(err) {
		t.Fatalf("the first question: %v, want a refusal", err)
	}
	if version, err := timeline.current(t.Context(), "pods", before, h.list); err != nil || version != "1" {
		t.Errorf("the second question: version %q, %v: want 1", version, err)
	}
}

// A refusal that lasts costs one list each time that the reflector tries again, which it
// does less and less often.
func TestLastingRefusalCostsLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, timeline := newHistory(), NewTimeline()
		h.refuse = 1000
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { New(Handlers[*corev1.Pod]{}).Run(ctx, h.source(timeline)) })
		time.Sleep(time.Minute) // in fake time
		before, _ := h.interrupt()
		time.Sleep(time.Minute) // in fake time
		after, _ := h.interrupt()
		if most := 20; before > most {
			t.Errorf("%d lists in the first minute, want at most %d", before, most)
		}
		if most := 5; after-before > most {
			t.Errorf("%d lists in the second minute, want at most %d", after-before, most)
		}
		stop()
		running.Wait()
	})
}

// An API server that restarts without a restore costs one question, however many
// watches it had, and no list of everything.
func TestInterruptionCostsLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, timeline := newHistory(), NewTimeline()
		timeline.Notify(func(known, current string) { t.Errorf("restored from %s to %s, but it was not", known, current) })
		h.put("x", "1")
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		const number = 100
		for range number {
			running.Go(func() { New(Handlers[*corev1.Pod]{}).Run(ctx, h.source(timeline)) })
		}
		time.Sleep(time.Minute) // in fake time
		before, _ := h.interrupt()
		time.Sleep(500 * time.Millisecond) // in fake time
		after, watches := h.interrupt()
		if after-before != 1 {
			t.Errorf("%d lists, want 1", after-before)
		}
		if watches != number {
			t.Errorf("%d watches, want %d", watches, number)
		}
		stop()
		running.Wait()
	})
}

// A list from an API server that lags behind is earlier, too, but proves nothing.
func TestLaggingListProvesNothing(t *testing.T) {
	t.Parallel()
	o := New(Handlers[*corev1.Pod]{})
	timeline := NewTimeline()
	timeline.Notify(func(known, current string) { t.Errorf("restored from %s to %s, but it was not", known, current) })
	lagging := func(_ context.Context, _ metav1.ListOptions) (runtime.Object, error) { return &corev1.PodList{}, nil }
	r := &reflection[*corev1.Pod]{Store: o, src: ListWatch{List: lagging, Server: Server{Timeline: timeline}}, epoch: timeline.epoch}
	o.Put(podAt("a", "1", "100"))
	for _, version := range []string{"80", "90"} {
		if _, err := r.list(t.Context(), metav1.ListOptions{ResourceVersion: version}); err != nil {
			t.Fatal(err)
		}
		if err := r.Replace([]any{podAt("a", "1", "80")}, "90"); err != nil {
			t.Fatal(err)
		}
	}
	// A consistent list that began before the write is earlier as well.
	if _, err := r.list(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	o.Put(podAt("a", "1", "110"))
	if err := r.Replace([]any{podAt("a", "1", "100")}, "105"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a=1@110"}, content(o.All())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
