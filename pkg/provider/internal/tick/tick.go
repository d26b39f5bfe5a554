package tick

import (
	"context"
	"time"

	"k8s.io/utils/clock"
)

// Every calls do after each interval until ctx ends. A call that takes longer
// than the interval delays the next one. client-go's wait.UntilWithContext does
// the same, but does not accept a clock.
func Every(ctx context.Context, clock clock.WithTicker, interval time.Duration, do func(context.Context)) {
	ticker := clock.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			do(ctx)
		}
	}
}
