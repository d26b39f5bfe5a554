package store

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// Object constrains watched objects to pointer types with Kubernetes metadata.
type Object interface {
	comparable
	metav1.Object
	runtime.Object
}

// Change is a change of one object. Old is zero if the object did not exist
// before; New is zero if it no longer exists.
type Change[T Object] struct {
	Old, New T
	// Watched reports whether a watch reported the change itself, rather than a
	// later list that contained the object, or no longer did.
	Watched bool
}

// Object returns the changed object: its new state, or its last state if it was
// deleted.
func (c Change[T]) Object() T {
	var none T
	if c.New != none {
		return c.New
	}
	return c.Old
}

// Store holds the newest known state of a watched selection. It is a reflector's
// store that goes back in time only with its cluster (see Timeline), so that it
// can hold the result of a write before the watch reports it.
//
// client-go's informers lack only that: their caches lag behind akd's own writes,
// and each stale read costs a write that changes nothing.
type Store[T Object] struct {
	Handlers[T]

	mu     sync.RWMutex
	items  map[string]map[string]T // by namespace and name
	count  int
	newest string    // the highest resourceVersion that the watch has reported
	known  string    // the highest resourceVersion that was ever seen, in a result of a write, too
	since  time.Time // when known was seen
	synced bool
	denied error // the last refusal by the server, nil after a successful list

	indexes []interface{ replaceLocked(old, now T) }
}

// Handlers are the callbacks of a store. Each may be nil. Trim may be called with the
// store's lock, the others are not.
type Handlers[T Object] struct {
	// Changed is called once for each change.
	Changed func(Change[T])
	// Ready is called after the first list of the selection, and again after that from
	// each time to which the cluster has gone back, which does not show what was written
	// and lost again before anybody noticed. It is also called, once, if the server has
	// refused the first list before.
	Ready func()
	// Trim reduces the size of an object before any reader has access to it.
	Trim func(T)
	// Last is called with the state in which a watch reports that an object was
	// deleted, before readers miss the object. The state is often a newer one than
	// they know. A list that no longer contains an object has none.
	Last func(T)
}

// New returns an empty store. Run fills it.
func New[T Object](handlers Handlers[T]) *Store[T] {
	if handlers.Changed == nil {
		handlers.Changed = func(Change[T]) {}
	}
	if handlers.Ready == nil {
		handlers.Ready = func() {}
	}
	if handlers.Trim == nil {
		handlers.Trim = func(T) {}
	}
	if handlers.Last == nil {
		handlers.Last = func(T) {}
	}
	return &Store[T]{Handlers: handlers, items: map[string]map[string]T{}}
}

// Get returns the object, which is read-only, or nil if there is none.
func (o *Store[T]) Get(namespace, name string) T {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.items[namespace][name]
}

// All returns every object, in no order. They are read-only.
func (o *Store[T]) All() []T {
	o.mu.RLock()
	defer o.mu.RUnlock()
	all := make([]T, 0, o.count)
	for _, items := range o.items {
		all = slices.AppendSeq(all, maps.Values(items))
	}
	return all
}

// In returns the objects of one namespace, in no order. They are read-only.
func (o *Store[T]) In(namespace string) []T {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return slices.Collect(maps.Values(o.items[namespace]))
}

// Len returns the number of objects.
func (o *Store[T]) Len() int {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.count
}

// HasSynced reports whether the whole selection has been listed once.
func (o *Store[T]) HasSynced() bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.synced
}

// Refusal returns the error with which the server refuses to list the selection,
// or nil.
func (o *Store[T]) Refusal() error {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.denied
}

// Put stores the result of a write, unless the watch has already reported that
// state or a later one.
func (o *Store[T]) Put(item T) {
	o.mu.Lock()
	if !Newer(item.GetResourceVersion(), o.newest) {
		o.mu.Unlock()
		return
	}
	o.noteLocked(item.GetResourceVersion())
	c, ok := o.setLocked(item, false)
	o.mu.Unlock()
	if ok {
		o.Changed(c)
	}
}

// Drop removes an object that a write has deleted, before the watch reports the
// deletion, unless another state is known. It does not call Changed: the caller already
// handles the deletion.
func (o *Store[T]) Drop(item T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if have, ok := o.items[item.GetNamespace()][item.GetName()]; ok && sameState(have, item) {
		o.deleteLocked(item.GetNamespace(), item.GetName())
	}
}

// setLocked stores an object unless a newer state is known. force ignores that.
func (o *Store[T]) setLocked(item T, force bool) (Change[T], bool) {
	namespace, name := item.GetNamespace(), item.GetName()
	old := o.items[namespace][name]
	var none T
	if old != none && (sameState(old, item) || !force && Newer(old.GetResourceVersion(), item.GetResourceVersion())) {
		return Change[T]{}, false
	}
	item.SetManagedFields(nil) // unused here, and often half of an object
	o.Trim(item)
	if o.items[namespace] == nil {
		o.items[namespace] = map[string]T{}
	}
	if old == none {
		o.count++
	}
	o.items[namespace][name] = item
	for _, index := range o.indexes {
		index.replaceLocked(old, item)
	}
	return Change[T]{Old: old, New: item}, true
}

func (o *Store[T]) deleteLocked(namespace, name string) {
	items := o.items[namespace]
	old, ok := items[name]
	if !ok {
		return
	}
	o.count--
	if delete(items, name); len(items) == 0 {
		delete(o.items, namespace)
	}
	var none T
	for _, index := range o.indexes {
		index.replaceLocked(old, none)
	}
}

func (o *Store[T]) advanceLocked(resourceVersion string) {
	o.noteLocked(resourceVersion)
	if Newer(resourceVersion, o.newest) {
		o.newest = resourceVersion
	}
}

func (o *Store[T]) noteLocked(resourceVersion string) {
	if Newer(resourceVersion, o.known) {
		o.known, o.since = resourceVersion, time.Now()
	}
}

// knows returns the highest resource version that the store has seen, and when.
func (o *Store[T]) knows() (string, time.Time) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.known, o.since
}

// Add implements cache.ReflectorStore.
func (o *Store[T]) Add(obj any) error { return o.Update(obj) }

// Update implements cache.ReflectorStore.
func (o *Store[T]) Update(obj any) error {
	item, ok := obj.(T)
	if !ok {
		return fmt.Errorf("watched a %T, want a %T", obj, item)
	}
	o.mu.Lock()
	o.advanceLocked(item.GetResourceVersion())
	c, ok := o.setLocked(item, false)
	o.mu.Unlock()
	if ok {
		c.Watched = true
		o.Changed(c)
	}
	return nil
}

// Delete implements cache.ReflectorStore.
func (o *Store[T]) Delete(obj any) error {
	item, ok := obj.(T)
	if !ok {
		return fmt.Errorf("watched a %T, want a %T", obj, item)
	}
	item.SetManagedFields(nil)
	o.Trim(item)
	o.Last(item)
	o.mu.Lock()
	o.advanceLocked(item.GetResourceVersion())
	o.deleteLocked(item.GetNamespace(), item.GetName())
	o.mu.Unlock()
	o.Changed(Change[T]{Old: item, Watched: true})
	return nil
}

// Bookmark implements cache.ReflectorBookmarkStore: the watch has reported
// everything up to that version.
func (o *Store[T]) Bookmark(resourceVersion string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.advanceLocked(resourceVersion)
	return nil
}

// Replace implements cache.ReflectorStore.
func (o *Store[T]) Replace(list []any, resourceVersion string) error {
	_, err := o.replace(list, resourceVersion, "", false)
	return err
}

// replace stores a list. It keeps objects that are newer than the list, because
// the server may answer from a lagging cache.
//
// known is what was known before a consistent list began, and empty for any other
// list. If the list proves that the cluster has gone back in time, replace keeps
// nothing that the list does not contain, and returns the version from the lost
// time. With anew, that has been proven before.
func (o *Store[T]) replace(list []any, version, known string, anew bool) (lost string, err error) {
	items, err := typed[T](list)
	if err != nil {
		return "", err
	}
	o.mu.Lock()
	if !anew {
		lost = o.lostLocked(items, version, known)
	}
	anew = anew || lost != ""
	changes := o.replaceLocked(items, version, anew)
	ready := anew || !o.synced
	o.synced, o.denied = true, nil
	o.mu.Unlock()
	for _, c := range changes {
		o.Changed(c)
	}
	if ready {
		o.Ready()
	}
	return lost, nil
}

func typed[T Object](list []any) ([]T, error) {
	items := make([]T, 0, len(list))
	for _, obj := range list {
		item, ok := obj.(T)
		if !ok {
			return nil, fmt.Errorf("listed a %T, want a %T", obj, item)
		}
		items = append(items, item)
	}
	return items, nil
}

// lostLocked returns a version from a time that the cluster has lost, or an empty
// string: one that was known before a consistent list with an earlier version
// began, or that of an object which a later list shows in an earlier state. etcd
// can skip versions when it is restored, so that the list is not earlier.
func (o *Store[T]) lostLocked(items []T, version, known string) string {
	if isEarlier(version, known) {
		return known
	}
	for _, item := range items {
		old, ok := o.items[item.GetNamespace()][item.GetName()]
		if !ok {
			continue
		}
		have := old.GetResourceVersion()
		if isEarlier(item.GetResourceVersion(), have) && (have == version || isEarlier(have, version)) {
			return have
		}
	}
	return ""
}

func (o *Store[T]) replaceLocked(items []T, version string, force bool) []Change[T] {
	var changes []Change[T]
	listed := make(map[types.NamespacedName]bool, len(items))
	for _, item := range items {
		listed[types.NamespacedName{Namespace: item.GetNamespace(), Name: item.GetName()}] = true
		if c, ok := o.setLocked(item, force); ok {
			changes = append(changes, c)
		}
	}
	for namespace, items := range o.items {
		for name, item := range items {
			if !listed[types.NamespacedName{Namespace: namespace, Name: name}] && (force || !Newer(item.GetResourceVersion(), version)) {
				o.deleteLocked(namespace, name)
				changes = append(changes, Change[T]{Old: item})
			}
		}
	}
	if force {
		o.newest, o.known = "", ""
	}
	o.advanceLocked(version)
	return changes
}

// Resync implements cache.ReflectorStore. It does nothing: the queue drives
// reconciliation.
func (o *Store[T]) Resync() error { return nil }

// sameState reports whether a and b are the same state of the same object: the
// result of a write that the watch reports again, or an object that a new watch
// lists again.
func sameState(a, b metav1.Object) bool {
	return a.GetResourceVersion() != "" && a.GetResourceVersion() == b.GetResourceVersion() && a.GetUID() == b.GetUID()
}

// Newer reports whether resource version a is later than b. The empty version is
// earlier than any other. Comparing versions as numbers is valid within one
// resource of one cluster (KEP-5504).
func Newer(a, b string) bool {
	if a == "" || b == "" {
		return a != ""
	}
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil || order > 0
}

// isEarlier reports whether resource version a is earlier than b. Nothing is known
// of versions that are missing, or not numbers.
func isEarlier(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}

// NoteRefusal records a lasting refusal and ends the wait for the first list: a
// kubelet, too, starts a pod without the objects that it may not read, and
// reports that. NotFound is also a refusal: the cluster does not serve the kind.
func (o *Store[T]) NoteRefusal(err error) {
	if !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
		return
	}
	o.mu.Lock()
	first := o.denied == nil && !o.synced
	o.denied = err
	o.mu.Unlock()
	if first {
		o.Ready()
	}
}
