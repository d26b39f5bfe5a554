package store

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Index finds the objects of a Store by keys that follow from them, so that looking for a few
// does not cost a look at all. Whoever handles the changes of the store passes each to Update,
// and those that Drop makes.
type Index[T Object, K comparable] struct {
	store *Store[T]
	keys  func(T) []K

	mu    sync.RWMutex
	of    map[types.NamespacedName][]K            // the keys of each object that has any
	names map[K]map[types.NamespacedName]struct{} // the objects of each key
}

// NewIndex returns an empty index of a store. keys returns the keys of an object.
func NewIndex[T Object, K comparable](store *Store[T], keys func(T) []K) *Index[T, K] {
	return &Index[T, K]{
		store: store, keys: keys,
		of: map[types.NamespacedName][]K{}, names: map[K]map[types.NamespacedName]struct{}{},
	}
}

// Update follows a change of the store. The change may be older than what the store has, which
// takes precedence.
func (x *Index[T, K]) Update(change Change[T]) {
	object := change.Object()
	name := types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.removeLocked(name)
	var none T
	current := x.store.Get(name.Namespace, name.Name)
	if current == none {
		return
	}
	keys := x.keys(current)
	if len(keys) > 0 {
		x.of[name] = keys
	}
	for _, key := range keys {
		if x.names[key] == nil {
			x.names[key] = map[types.NamespacedName]struct{}{}
		}
		x.names[key][name] = struct{}{}
	}
}

func (x *Index[T, K]) removeLocked(name types.NamespacedName) {
	for _, key := range x.of[name] {
		if delete(x.names[key], name); len(x.names[key]) == 0 {
			delete(x.names, key)
		}
	}
	delete(x.of, name)
}

// Get returns the objects with a key, in no order. They are read-only. One whose change is
// still to be handled may be missing.
func (x *Index[T, K]) Get(key K) []T {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var none T
	var found []T
	for name := range x.names[key] {
		if object := x.store.Get(name.Namespace, name.Name); object != none && slices.Contains(x.keys(object), key) {
			found = append(found, object)
		}
	}
	return found
}
