package mirror

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
)

// openingAtOnce is how many lists and watches a Watcher requests at a time. A
// thousand pods that start, or an API server that restarts, would otherwise cause
// thousands of requests at once, ahead of the renewal of the node's lease.
const openingAtOnce = 32

// Watcher watches the local objects of one kind that pods refer to. Like a
// kubelet, it watches each object separately, and only while a pod refers to
// it: it never reads any other object.
type Watcher[T store.Object] struct {
	source  func(namespace, name string) store.ListWatch
	changed func(namespace, name string)
	// linger is how long an object is still watched after the last pod that refers
	// to it, in case a replacement for that pod follows.
	linger  time.Duration
	watches *store.WatchGroup
	opening *semaphore.Weighted
	ended   func() // called with the lock when a watch has ended

	mu      sync.Mutex
	objects map[types.NamespacedName]*watchedObject[T]
	pods    map[types.NamespacedName][]string // names that each pod refers to, sorted
	counts  map[string]int                    // objects by namespace
	// lingering counts, by namespace, the objects to which no pod refers any more.
	lingering map[string]int
}

// watchedObject is one object that pods refer to.
type watchedObject[T store.Object] struct {
	users       map[string]bool // names of pods of the same namespace
	objects     *store.Store[T]
	end         func()
	lingerTimer *time.Timer // ends the lingering; nil while a pod refers to the object
}

// Observed is the observed state of a referenced local object.
type Observed[T store.Object] struct {
	Object  T     // nil if there is none, or none that akd may read
	Read    bool  // the API server has answered, with the object or an error
	Refused error // why akd may not read it; nil otherwise
	Used    bool  // a pod refers to it, or did recently
}

// NewWatcher returns a watcher that calls changed for each object that has
// changed, was first read, was refused, or is no longer referred to.
func NewWatcher[T store.Object](
	source func(namespace, name string) store.ListWatch, changed func(namespace, name string), linger time.Duration,
) *Watcher[T] {
	return &Watcher[T]{
		source:  source,
		changed: changed,
		linger:  linger,
		watches: store.NewWatchGroup(),
		opening: semaphore.NewWeighted(openingAtOnce),
		ended:   func() {},
		objects: map[types.NamespacedName]*watchedObject[T]{},
		pods:    map[types.NamespacedName][]string{},
		counts:  map[string]int{},

		lingering: map[string]int{},
	}
}

// Run watches until ctx ends.
func (w *Watcher[T]) Run(ctx context.Context) { w.watches.Run(ctx) }

// Use sets the names that the pod refers to, which must be sorted. It starts
// and stops watches accordingly.
func (w *Watcher[T]) Use(pod types.NamespacedName, names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.pods[pod]
	if slices.Equal(before, names) {
		return
	}
	for _, name := range names {
		w.addLocked(types.NamespacedName{Namespace: pod.Namespace, Name: name}, pod.Name)
	}
	for _, name := range before {
		if _, kept := slices.BinarySearch(names, name); !kept {
			w.dropLocked(types.NamespacedName{Namespace: pod.Namespace, Name: name}, pod.Name)
		}
	}
	if len(names) == 0 {
		delete(w.pods, pod)
		return
	}
	w.pods[pod] = names
}

// count returns the numbers of watched objects, in a namespace and in all.
func (w *Watcher[T]) count(namespace string) (own, all int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[namespace], len(w.objects)
}

// unwatched returns how many of the named objects are not watched yet.
func (w *Watcher[T]) unwatched(namespace string, names []string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	missing := 0
	for _, name := range names {
		if w.objects[types.NamespacedName{Namespace: namespace, Name: name}] == nil {
			missing++
		}
	}
	return missing
}

// endLingering stops watching the objects of a namespace to which no pod refers
// any more.
func (w *Watcher[T]) endLingering(namespace string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lingering[namespace] == 0 {
		return
	}
	for id, found := range w.objects {
		if id.Namespace == namespace && len(found.users) == 0 {
			w.endLocked(id, found)
			w.changed(id.Namespace, id.Name)
		}
	}
}

func (w *Watcher[T]) addLocked(id types.NamespacedName, pod string) {
	found := w.objects[id]
	if found != nil && found.lingerTimer != nil {
		w.stopLingeringLocked(id, found)
		if found.objects.Refusal() != nil {
			// No pod referred to it during the last read, so the refusal does not count.
			w.endLocked(id, found)
			found = nil
		}
	}
	if found == nil {
		found = w.watch(id)
		w.objects[id] = found
	}
	found.users[pod] = true
}

func (w *Watcher[T]) watch(id types.NamespacedName) *watchedObject[T] {
	changed := func() { w.changed(id.Namespace, id.Name) }
	objects := store.New(store.Handlers[T]{Changed: func(store.Change[T]) { changed() }, Ready: changed})
	end := w.watches.Begin(func(ctx context.Context) { objects.Run(ctx, w.paced(w.source(id.Namespace, id.Name))) })
	w.counts[id.Namespace]++
	return &watchedObject[T]{users: map[string]bool{}, objects: objects, end: end}
}

// paced returns the source with a limit on its concurrent requests. A watch
// counts until the API server has accepted it.
func (w *Watcher[T]) paced(source store.ListWatch) store.ListWatch {
	list, begin := source.List, source.Watch
	source.List = func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
		if err := w.opening.Acquire(ctx, 1); err != nil {
			return nil, err
		}
		defer w.opening.Release(1)
		return list(ctx, opts)
	}
	source.Watch = func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
		if err := w.opening.Acquire(ctx, 1); err != nil {
			return nil, err
		}
		defer w.opening.Release(1)
		return begin(ctx, opts)
	}
	return source
}

func (w *Watcher[T]) dropLocked(id types.NamespacedName, pod string) {
	found := w.objects[id]
	if found == nil {
		return
	}
	delete(found.users, pod)
	switch {
	case len(found.users) > 0:
	case w.linger == 0:
		w.endLocked(id, found)
		w.changed(id.Namespace, id.Name)
	case found.lingerTimer == nil:
		found.lingerTimer = time.AfterFunc(w.linger, func() { w.expire(id, found) })
		w.lingering[id.Namespace]++
	}
}

// expire stops watching an object that no pod has referred to again.
func (w *Watcher[T]) expire(id types.NamespacedName, left *watchedObject[T]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.objects[id] != left || len(left.users) > 0 {
		return
	}
	w.endLocked(id, left)
	w.changed(id.Namespace, id.Name)
}

func (w *Watcher[T]) endLocked(id types.NamespacedName, left *watchedObject[T]) {
	left.end()
	w.stopLingeringLocked(id, left)
	delete(w.objects, id)
	if w.counts[id.Namespace]--; w.counts[id.Namespace] == 0 {
		delete(w.counts, id.Namespace)
	}
	w.ended()
}

func (w *Watcher[T]) stopLingeringLocked(id types.NamespacedName, left *watchedObject[T]) {
	if left.lingerTimer == nil {
		return
	}
	left.lingerTimer.Stop()
	left.lingerTimer = nil
	if w.lingering[id.Namespace]--; w.lingering[id.Namespace] == 0 {
		delete(w.lingering, id.Namespace)
	}
}

// Observe returns the observed state of a local object.
func (w *Watcher[T]) Observe(namespace, name string) Observed[T] {
	w.mu.Lock()
	found := w.objects[types.NamespacedName{Namespace: namespace, Name: name}]
	w.mu.Unlock()
	if found == nil {
		return Observed[T]{}
	}
	refused := found.objects.Refusal()
	return Observed[T]{
		Object:  found.objects.Get(namespace, name),
		Read:    found.objects.HasSynced() || refused != nil,
		Refused: refused,
		Used:    true,
	}
}
