//go:build e2e

package env

import (
	"context"
	"os"
	"testing"
	"time"
)

// Timeout is how long a condition may take before a test gives up. It says
// nothing about speed: it only ends tests whose conditions never come true.
const Timeout = 3 * time.Minute

// Slow reports whether slow tests run, with more work: E2E_SLOW is set.
func Slow() bool { return os.Getenv("E2E_SLOW") != "" }

// SkipUnlessSlow skips a test that waits for minutes, or builds the programs of
// other projects, unless E2E_SLOW is set.
func SkipUnlessSlow(t testing.TB) {
	t.Helper()
	if !Slow() {
		t.Skip("slow: set E2E_SLOW=1, as make e2e does")
	}
}

// Eventually waits until a condition returns nil; its error says what is still
// missing. It fails the test after Timeout.
func Eventually(t testing.TB, what string, condition func(context.Context) error) {
	t.Helper()
	Within(t, Timeout, what, condition)
}

// Within is Eventually with a limit of its own, for conditions that are slow by
// nature.
func Within(t testing.TB, limit time.Duration, what string, condition func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		err := condition(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
