package scenario

import (
	"sync"

	"k8s.io/apimachinery/pkg/watch"
)

// gate delays what watches report. Its zero value is open.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // is closed when the gate opens; nil if it is open
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

// wait waits until the gate is open, and reports whether that came before stop.
func (g *gate) wait(stop <-chan struct{}) bool {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	if opened == nil {
		return true
	}
	select {
	case <-opened:
		return true
	case <-stop:
		return false
	}
}

// delay returns a watch that reports those of the source's events that are to be kept,
// when the gate is open.
func (g *gate) delay(source watch.Interface, keep func(watch.Event) bool) watch.Interface {
	events := make(chan watch.Event)
	delayed := watch.NewProxyWatcher(events)
	go func() {
		defer close(events)
		defer source.Stop()
		for {
			select {
			case <-delayed.StopChan():
				return
			case event, more := <-source.ResultChan():
				if !more || !g.wait(delayed.StopChan()) {
					return
				}
				if !keep(event) {
					continue
				}
				select {
				case events <- event:
				case <-delayed.StopChan():
					return
				}
			}
		}
	}()
	return delayed
}
