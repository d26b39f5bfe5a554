package store

import (
	"context"
	"sync"
)

// WatchGroup owns watches that start and end at any time. Watches added before
// Run start with it.
type WatchGroup struct {
	mu      sync.Mutex
	waiting []*groupedWatch
	wake    chan struct{}
}

// NewWatchGroup returns a group without watches.
func NewWatchGroup() *WatchGroup { return &WatchGroup{wake: make(chan struct{}, 1)} }

// Begin adds a watch for Run to run. The context of the watch ends when the
// returned function is called, or when Run's context ends.
func (g *WatchGroup) Begin(watch func(context.Context)) (end func()) {
	next := &groupedWatch{watch: watch}
	g.mu.Lock()
	g.waiting = append(g.waiting, next)
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default: // Run is already notified
	}
	return next.end
}

// Run runs the watches until ctx ends. It returns after all of them have ended.
func (g *WatchGroup) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		for _, next := range g.take() {
			running.Go(func() { next.run(ctx) })
		}
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		}
	}
}

func (g *WatchGroup) take() []*groupedWatch {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := g.waiting
	g.waiting = nil
	return taken
}

// groupedWatch is one watch of a group.
type groupedWatch struct {
	watch func(context.Context)

	mu     sync.Mutex
	ended  bool
	cancel context.CancelFunc // nil until it runs
}

func (w *groupedWatch) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.mu.Lock()
	ended := w.ended
	w.cancel = cancel
	w.mu.Unlock()
	if !ended {
		w.watch(ctx)
	}
}

func (w *groupedWatch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	if w.cancel != nil {
		w.cancel()
	}
}
