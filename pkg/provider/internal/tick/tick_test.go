package tick

import (
	"context"
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
		calls, done := 0, make(chan struct{})
		go func() {
			Every(ctx, clock.RealClock{}, time.Minute, func(context.Context) { calls++ })
			close(done)
		}()
		synctest.Wait()
		if calls != 0 {
			t.Errorf("%d calls at the start, want none", calls)
		}
		time.Sleep(3*time.Minute + time.Second) // in fake time
		synctest.Wait()
		if calls != 3 {
			t.Errorf("%d calls within three intervals, want 3", calls)
		}
		stop()
		<-done
	})
}
