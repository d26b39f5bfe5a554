package provider

import (
	"context"
	"time"

	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/tick"
)

const (
	// scavengeInterval is how often akd checks whether it has become quiet.
	scavengeInterval = 15 * time.Second
	// quietRate is the number of reconciles per second that counts as quiet; ten
	// thousand idle pods cause fewer.
	quietRate = 5
)

// scavenger returns memory to the operating system after a burst of work. Go's
// garbage collector lets as much garbage accumulate as there are live objects,
// and keeps that memory for reuse: with 10,000 pods, that is half of akd's
// memory.
type scavenger struct {
	reconciles func() uint64 // so far
	release    func()        // debug.FreeOSMemory, which collects garbage first
	clock      clock.WithTicker
}

// run checks at intervals until ctx ends. It releases memory once per burst.
func (s *scavenger) run(ctx context.Context) {
	last, used := s.reconciles(), true // startup reads everything, which is a burst
	tick.Every(ctx, s.clock, scavengeInterval, func(context.Context) {
		now := s.reconciles()
		quiet := now-last <= quietRate*uint64(scavengeInterval/time.Second)
		if quiet && used {
			s.release()
		}
		used, last = !quiet, now
	})
}
