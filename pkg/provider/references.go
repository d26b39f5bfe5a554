package provider

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// references are the local objects of one kind that pods refer to. Each is
// watched by itself, as a kubelet does, and only while a pod refers to it:
// nothing else is ever read.
type references[T object] struct {
	source  func(namespace, name string) source
	changed func(namespace, name string)
	// linger is how long an object that no pod refers to any more is still
	// watched, for a pod that comes in the place of the last one.
	linger time.Duration

	run     context.Context // what the watches live in
	watches sync.WaitGroup

	mu      sync.Mutex
	objects map[types.NamespacedName]*reference[T]
	pods    map[types.NamespacedName][]string // what each pod refers to, sorted
}

// reference is one object that pods refer to.
type reference[T object] struct {
	users    map[string]bool // names of pods of the same namespace
	objects  *objects[T]
	stop     context.CancelFunc
	farewell *time.Timer // ends the lingering; nil while a pod refers to the object
}

// known is what is known of a referenced local object.
type known[T object] struct {
	object  T     // nil when there is none, or none that we may read
	read    bool  // the API server has told, one way or the other
	refused error // why it may not be read, nil otherwise
	used    bool  // some pod refers to it, or did a moment ago
}

func newReferences[T object](source func(namespace, name string) source, changed func(namespace, name string), linger time.Duration) *references[T] {
	return &references[T]{
		source:  source,
		changed: changed,
		linger:  linger,
		objects: map[types.NamespacedName]*reference[T]{},
		pods:    map[types.NamespacedName][]string{},
	}
}

// start sets what the watches live in; use may be called from then on.
func (r *references[T]) start(ctx context.Context) { r.run = ctx }

// use says that the pod refers to exactly these names, which are sorted. It
// starts and stops watches accordingly.
func (r *references[T]) use(pod types.NamespacedName, names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.pods[pod]
	if slices.Equal(before, names) {
		return
	}
	for _, name := range names {
		r.addLocked(types.NamespacedName{Namespace: pod.Namespace, Name: name}, pod.Name)
	}
	for _, name := range before {
		if !slices.Contains(names, name) {
			r.dropLocked(types.NamespacedName{Namespace: pod.Namespace, Name: name}, pod.Name)
		}
	}
	if len(names) == 0 {
		delete(r.pods, pod)
		return
	}
	r.pods[pod] = names
}

func (r *references[T]) addLocked(id types.NamespacedName, pod string) {
	found := r.objects[id]
	if found != nil && found.farewell != nil {
		found.farewell.Stop()
		found.farewell = nil
		if found.objects.refusal() != nil {
			// Nobody referred to it when it was read again: that was no answer.
			r.endLocked(id, found)
			found = nil
		}
	}
	if found == nil {
		ctx, stop := context.WithCancel(r.run) //nolint:gosec // endLocked calls stop
		told := func() { r.changed(id.Namespace, id.Name) }
		found = &reference[T]{users: map[string]bool{}, stop: stop, objects: newObjects(func(change[T]) { told() }, told)}
		r.objects[id] = found
		r.watches.Go(func() { found.objects.run(ctx, r.source(id.Namespace, id.Name)) })
	}
	found.users[pod] = true
}

func (r *references[T]) dropLocked(id types.NamespacedName, pod string) {
	found := r.objects[id]
	if found == nil {
		return
	}
	delete(found.users, pod)
	switch {
	case len(found.users) > 0:
	case r.linger == 0:
		r.endLocked(id, found)
		r.changed(id.Namespace, id.Name)
	case found.farewell == nil:
		found.farewell = time.AfterFunc(r.linger, func() { r.end(id, found) })
	}
}

// end stops watching an object that no pod has come back to.
func (r *references[T]) end(id types.NamespacedName, left *reference[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.objects[id] != left || len(left.users) > 0 || r.run.Err() != nil {
		return
	}
	r.endLocked(id, left)
	r.changed(id.Namespace, id.Name)
}

func (r *references[T]) endLocked(id types.NamespacedName, left *reference[T]) {
	left.stop()
	delete(r.objects, id)
}

// state returns what is known of a local object.
func (r *references[T]) state(namespace, name string) known[T] {
	r.mu.Lock()
	found := r.objects[types.NamespacedName{Namespace: namespace, Name: name}]
	r.mu.Unlock()
	if found == nil {
		return known[T]{}
	}
	refused := found.objects.refusal()
	return known[T]{
		object:  found.objects.get(namespace, name),
		read:    found.objects.hasSynced() || refused != nil,
		refused: refused,
		used:    true,
	}
}

// wait returns when every watch has ended.
func (r *references[T]) wait() { r.watches.Wait() }
