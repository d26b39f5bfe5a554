package plugin

import (
	"context"
	"io"
	"time"
)

// steps tells what a command does, a line for each step: ✓ or ✗, what, and how
// long it took.
type steps struct {
	out   io.Writer
	style *style
	quiet bool
}

// do runs one step. Its outcome is what the step adds to its line.
func (s *steps) do(ctx context.Context, what string, step func(context.Context) (outcome string, err error)) error {
	if s.quiet {
		_, err := step(ctx)
		return err
	}
	console, begin := s.style.on(s.out), s.style.clock.Now()
	var outcome string
	var err error
	console.while(ctx, what, func(ctx context.Context) { outcome, err = step(ctx) })
	mark := "✓"
	if err != nil {
		mark = "✗"
	}
	if outcome != "" {
		outcome = ": " + outcome
	}
	printf(s.out, "%s %s%s (%s)\n", console.mark(mark), what, outcome, s.style.clock.Since(begin).Round(time.Second/10))
	return err
}
