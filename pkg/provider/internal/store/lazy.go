package store

import (
	"context"
	"sync"
)

// Lazy is a store whose selection is watched from when it is first needed: most
// clusters hold nothing of it, and older ones do not even know its kind.
type Lazy[T Object] struct {
	*Store[T]
	source func() ListWatch

	once   sync.Once
	needed chan struct{}
}

// NewLazy returns a store that waits for Need, and for Run.
func NewLazy[T Object](source func() ListWatch, handlers Handlers[T]) *Lazy[T] {
	return &Lazy[T]{Store: New(handlers), source: source, needed: make(chan struct{})}
}

// Need begins the watch, if it has not begun.
func (l *Lazy[T]) Need() { l.once.Do(func() { close(l.needed) }) }

// Run keeps the store up to date until ctx ends, once it is needed.
func (l *Lazy[T]) Run(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-l.needed:
		l.Store.Run(ctx, l.source())
	}
}
