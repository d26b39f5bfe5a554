package provider

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"
)

// The memory of a burst is released once, after the burst: garbage collection
// is too expensive to run while there is work, or repeatedly without effect.
func TestMemoryIsGivenBackOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var reconciles atomic.Uint64
		released := 0
		m := &scavenger{reconciles: reconciles.Load, release: func() { released++ }, clock: clock.RealClock{}}
		done := make(chan struct{})
		go func() { m.run(ctx); close(done) }()
		synctest.Wait()
		var got []int
		for _, work := range []uint64{10, 0, 5000, 5000, 20, 0, 5000, 0} {
			reconciles.Add(work)
			time.Sleep(scavengeInterval) // in fake time
			synctest.Wait()
			got = append(got, released)
		}
		if diff := cmp.Diff([]int{1, 1, 1, 1, 2, 2, 2, 3}, got); diff != "" {
			t.Errorf("releases after each interval (-want +got):\n%s", diff)
		}
		stop()
		<-done
	})
}
