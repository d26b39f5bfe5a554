package store

import (
	"context"
	"sync"
)

// Lazy is a store that starts its watch when it is first needed. Most clusters
// have no such objects, and older clusters do not even serve the kind.
type Lazy[T Object] struct {
	*Store[T]
	source func() ListWatch

	once   sync.Once
	needed chan struct{}
}

// NewLazy returns a store that waits for both Need and Run.
func NewLazy[T Object](source func() ListWatch, handlers Handlers[T]) *Lazy[T] {
	return &Lazy[T]{Store: New(handlers), source: source, needed: make(chan struct{})}
}

// Need starts the watch unless it has already started.
func (l *Lazy[T]) Need() { l.once.Do(func() { close(l.needed) }) }

// Run keeps the store up to date until ctx ends, once it is needed.
func (l *Lazy[T]) Run(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-l.needed:
		l.Store.Run(ctx, l.source())
	}
}
