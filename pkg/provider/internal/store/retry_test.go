package store

import (
	"context"
	"errors"
	"testing"
)

// A request that was never made has no result: akd used to take the nil of a watch
// whose context had ended for a watch, and crashed after a restore.
func TestRetryEndedContext(t *testing.T) {
	t.Parallel()
	ctx, end := context.WithCancel(t.Context())
	end()
	result, err := RetryForbidden(ctx, func() (*int, error) { return new(int), nil })
	if result != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v: want no result and %v", result, err, context.Canceled)
	}
}
