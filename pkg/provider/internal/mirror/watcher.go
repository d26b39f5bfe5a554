package mirror

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
)

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

	mu      sync.Mutex
	objects map[types.NamespacedName]*watchedObject[T]
	pods    map[types.NamespacedName][]string // names that each pod refers to, sorted
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
		objects: map[types.NamespacedName]*watchedObject[T]{},
		pods:    map[types.NamespacedName][]string{},
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
		if !slices.Contains(names, name) {
			w.dropLocked(types.NamespacedName{Namespace: pod.Namespace, Name: name}, pod.Name)
		}
	}
	if len(names) == 0 {
		delete(w.pods, pod)
		return
	}
	w.pods[pod] = names
}

func (w *Watcher[T]) addLocked(id types.NamespacedName, pod string) {
	found := w.objects[id]
	if found != nil && found.lingerTimer != nil {
		found.lingerTimer.Stop()
		found.lingerTimer = nil
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
	end := w.watches.Begin(func(ctx context.Context) { objects.Run(ctx, w.source(id.Namespace, id.Name)) })
	return &watchedObject[T]{users: map[string]bool{}, objects: objects, end: end}
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
	delete(w.objects, id)
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
