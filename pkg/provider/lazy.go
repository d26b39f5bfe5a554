package provider

import (
	"context"
	"sync"
)

// lazy is a store whose selection is watched from when it is first needed: most
// clusters hold nothing of it, and older ones do not even know its kind.
type lazy[T object] struct {
	*objects[T]
	source func() source

	once   sync.Once
	needed chan struct{}
}

func newLazy[T object](source func() source, handlers handlers[T]) *lazy[T] {
	return &lazy[T]{objects: newObjects(handlers), source: source, needed: make(chan struct{})}
}

// Need begins the watch, if it has not begun.
func (l *lazy[T]) Need() { l.once.Do(func() { close(l.needed) }) }

// Run keeps the store up to date until ctx ends, once it is needed.
func (l *lazy[T]) Run(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-l.needed:
		l.run(ctx, l.source())
	}
}
