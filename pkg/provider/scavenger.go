package provider

import (
	"context"
	"time"

	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/tick"
)

const (
	// scavengeInterval is how often akd looks whether it has become quiet.
	scavengeInterval = 15 * time.Second
	// quietRate is how many reconciles a second count as quiet: what ten thousand
	// idle pods cause by themselves is less.
	quietRate = 5
)

// scavenger gives back to the operating system the memory that a burst of work
// has left. Go's collector lets as much garbage gather as there are live
// objects, and keeps that memory for the next time: with 10,000 pods, half of
// what akd has.
type scavenger struct {
	reconciles func() uint64 // so far
	release    func()        // debug.FreeOSMemory, which collects first
	clock      clock.WithTicker
}

// run looks at intervals until ctx ends. It releases once for each burst.
func (s *scavenger) run(ctx context.Context) {
	last, used := s.reconciles(), true // the start reads everything
	tick.Every(ctx, s.clock, scavengeInterval, func(context.Context) {
		now := s.reconciles()
		quiet := now-last <= quietRate*uint64(scavengeInterval/time.Second)
		if quiet && used {
			s.release()
		}
		used, last = !quiet, now
	})
}
