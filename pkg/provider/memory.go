package provider

import (
	"context"
	"time"
)

const (
	// memoryInterval is how often akd looks whether it has become quiet.
	memoryInterval = 15 * time.Second
	// quietRate is how many reconciles a second are none to speak of.
	quietRate = 5
)

// memory gives back to the operating system what a burst of work has left. Go's
// collector lets as much garbage gather as there are live objects, and keeps
// that memory for the next time: with 10,000 pods, half of what akd has.
type memory struct {
	reconciles func() uint64 // so far
	release    func()        // debug.FreeOSMemory, which collects first
}

// run looks at intervals until ctx ends. It releases once for each burst.
func (m *memory) run(ctx context.Context) {
	ticker := time.NewTicker(memoryInterval)
	defer ticker.Stop()
	last, used := m.reconciles(), true // the start reads everything
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := m.reconciles()
		quiet := now-last <= quietRate*uint64(memoryInterval/time.Second)
		if quiet && used {
			m.release()
		}
		used, last = !quiet, now
	}
}
