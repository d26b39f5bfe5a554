package store

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// A watch runs from Begin until it is ended or the group ends, whichever comes
// first. A watch that is ended before the group runs never starts.
func TestWatchGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		group := NewWatchGroup()
		live := map[string]bool{}
		events := make(chan func(), 10)
		watch := func(name string) func(context.Context) {
			return func(ctx context.Context) {
				events <- func() { live[name] = true }
				<-ctx.Done()
				events <- func() { delete(live, name) }
			}
		}
		check := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			for len(events) > 0 {
				(<-events)()
			}
			wanted := map[string]bool{}
			for _, name := range want {
				wanted[name] = true
			}
			if diff := cmp.Diff(wanted, live); diff != "" {
				t.Errorf("%s, live watches (-want +got):\n%s", when, diff)
			}
		}
		endEarly := group.Begin(watch("early"))
		group.Begin(watch("waiting"))
		endEarly()
		check("before the group runs")
		done := make(chan struct{})
		go func() { group.Run(ctx); close(done) }()
		check("when the group runs", "waiting")
		end := group.Begin(watch("late"))
		check("when another begins", "waiting", "late")
		end()
		end() // twice is once
		check("when it ends", "waiting")
		stop()
		<-done
		check("when the group has ended")
	})
}
