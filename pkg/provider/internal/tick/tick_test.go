package tick

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
)

// The first call comes after an interval, not at once, and none after the end.
func TestEvery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var calls atomic.Int32 // a timer of fake time does not order memory
		done := make(chan struct{})
		go func() {
			Every(ctx, clock.RealClock{}, time.Minute, func(context.Context) { calls.Add(1) })
			close(done)
		}()
		synctest.Wait()
		if got := calls.Load(); got != 0 {
			t.Errorf("%d calls at the start, want none", got)
		}
		time.Sleep(3*time.Minute + time.Second) // in fake time
		synctest.Wait()
		if got := calls.Load(); got != 3 {
			t.Errorf("%d calls within three intervals, want 3", got)
		}
		stop()
		<-done
	})
}
