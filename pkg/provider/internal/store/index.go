package store

import (
	"maps"
	"slices"
)

// Index finds the objects of a Store by keys that follow from them, so that looking for a few
// does not cost a look at all. It is always as new as the store.
type Index[T Object, K comparable] struct {
	store *Store[T]
	keys  func(T) []K
	of    map[K]map[T]struct{} // the objects of each key; the store's lock guards it
}

// NewIndex returns an index of a store. keys returns the keys of an object. It is called with
// the store's lock, so it must not use the store.
func NewIndex[T Object, K comparable](store *Store[T], keys func(T) []K) *Index[T, K] {
	x := &Index[T, K]{store: store, keys: keys, of: map[K]map[T]struct{}{}}
	store.mu.Lock()
	defer store.mu.Unlock()
	var none T
	for _, items := range store.items {
		for _, item := range items {
			x.replaceLocked(none, item)
		}
	}
	store.indexes = append(store.indexes, x)
	return x
}

// replaceLocked follows a change of the store: old or now is zero if there is none.
func (x *Index[T, K]) replaceLocked(old, now T) {
	var none T
	if old != none {
		for _, key := range x.keys(old) {
			if delete(x.of[key], old); len(x.of[key]) == 0 {
				delete(x.of, key)
			}
		}
	}
	if now == none {
		return
	}
	for _, key := range x.keys(now) {
		if x.of[key] == nil {
			x.of[key] = map[T]struct{}{}
		}
		x.of[key][now] = struct{}{}
	}
}

// Get returns the objects with a key, in no order. They are read-only.
func (x *Index[T, K]) Get(key K) []T {
	x.store.mu.RLock()
	defer x.store.mu.RUnlock()
	return slices.Collect(maps.Keys(x.of[key]))
}
