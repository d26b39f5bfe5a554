package output

import (
	"context"
	"time"
)

// Steps shows what a command does, a line for each step: ✓ or ✗, the step, its
// outcome, and how long it took.
type Steps struct {
	console *Console
	quiet   bool
}

// NewSteps returns steps that are shown on a console, or nowhere if quiet.
func NewSteps(console *Console, quiet bool) *Steps { return &Steps{console: console, quiet: quiet} }

// Do runs a step. Its outcome becomes part of its line.
func (s *Steps) Do(ctx context.Context, name string, step func(context.Context) (outcome string, err error)) error {
	if s.quiet {
		_, err := step(ctx)
		return err
	}
	var outcome string
	var err error
	begin := s.console.clock.Now()
	s.console.WithSpinner(ctx, name, func(ctx context.Context) { outcome, err = step(ctx) })
	mark := MarkOK
	if err != nil {
		mark = MarkFailed
	}
	if outcome != "" {
		outcome = ": " + outcome
	}
	took := s.console.clock.Since(begin).Round(time.Second / 10)
	s.console.printf("%s %s (%s)\n", s.console.Mark(mark), Line(name+outcome), took)
	return err
}
