package plugin

import (
	"context"
	"io"
	"time"

	"k8s.io/utils/clock"
)

// steps tells what a command does, a line for each step: ✓ or ✗, what, and how
// long it took.
type steps struct {
	out   io.Writer
	clock clock.PassiveClock
	quiet bool
}

// do runs one step. Its outcome is what the step adds to its line.
func (s *steps) do(ctx context.Context, what string, step func(context.Context) (outcome string, err error)) error {
	begin := s.clock.Now()
	outcome, err := step(ctx)
	if s.quiet {
		return err
	}
	mark := "✓"
	if err != nil {
		mark = "✗"
	}
	if outcome != "" {
		outcome = ": " + outcome
	}
	printf(s.out, "%s %s%s (%s)\n", mark, what, outcome, s.clock.Since(begin).Round(time.Second/10))
	return err
}
