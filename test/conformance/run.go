package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// conformance is one run of the command.
type conformance struct {
	*options
	env        *environment
	tests      tests
	results    *results
	exceptions []exception
	progress   io.Writer
	began      time.Time
	passes     int
}

func (o *options) run(ctx context.Context, out, progress io.Writer) (err error) {
	exceptions, err := readExceptions()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("make the folder of results: %w", err)
	}
	results, err := openResults(o.out, o.resume)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, results.close()) }()
	began := time.Now()
	env, err := start(ctx, o, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.stop(context.WithoutCancel(ctx))) }()
	tests, err := env.tests(ctx)
	if err != nil {
		return err
	}
	c := &conformance{
		options:    o,
		env:        env,
		tests:      tests,
		results:    results,
		exceptions: exceptions,
		progress:   progress,
		began:      began,
	}
	names, err := c.runAll(ctx)
	if len(names) > 0 {
		rows := results.compare(names, exceptions, o.repeat > 1)
		err = errors.Join(err, writeReports(o.out, rows), printSummary(out, rows))
		if err == nil && count(rows)[failedThrough] > 0 {
			err = errDifferent
		}
	}
	return err
}

// runAll runs the chosen specs both ways and returns their names, also those
// that have not run when it fails.
func (c *conformance) runAll(ctx context.Context) ([]string, error) {
	for s, subject := range c.env.subject {
		c.results.forget(s, subject)
	}
	specs, err := c.tests.all(ctx, c.out)
	if err != nil {
		return nil, err
	}
	together, alone := c.choose(specs)
	all := slices.Concat(together, alone)
	if len(all) == 0 {
		return nil, fmt.Errorf("none of %d specs matches: check --suite, --focus and --skip", len(specs))
	}
	c.logf("%d specs, %d of them one at a time", len(all), len(alone))
	for _, batch := range batches(together, c.batch) {
		if err := c.compareBatch(ctx, batch, c.procs); err != nil {
			return all, err
		}
	}
	for _, batch := range batches(alone, c.batch) {
		if err := c.compareBatch(ctx, batch, 1); err != nil {
			return all, err
		}
	}
	return all, c.repeatDifferent(ctx, all)
}

// compareBatch runs a batch through AK, and directly what did not pass there; with
// --both or --repeat, all of it both ways.
func (c *conformance) compareBatch(ctx context.Context, batch []string, procs int) error {
	if c.direct {
		return c.pass(ctx, direct, c.results.missing(direct, batch, 1), procs)
	}
	if !c.both && c.repeat == 1 {
		if err := c.pass(ctx, through, c.results.missing(through, batch, 1), procs); err != nil {
			return err
		}
		batch = slices.DeleteFunc(slices.Clone(batch), c.results.passedThrough)
	}
	for time := 1; time <= c.repeat; time++ {
		for _, s := range []side{direct, through} {
			if err := c.pass(ctx, s, c.results.missing(s, batch, time), procs); err != nil {
				return err
			}
		}
	}
	return nil
}

// repeatDifferent runs specs that failed on one side only again on both, two at
// a time: on a busy machine a spec now and then misses its own deadline. A spec
// that fails again really differs. Known exceptions are not repeated.
func (c *conformance) repeatDifferent(ctx context.Context, all []string) error {
	if c.repeat > 1 {
		return nil
	}
	differ := with(c.results.compare(all, c.exceptions, false), failedThrough, failedDirect)
	const procs = 2
	for _, batch := range batches(differ, c.batch) {
		for _, s := range []side{direct, through} {
			if err := c.pass(ctx, s, c.results.missing(s, batch, 2), procs); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *conformance) pass(ctx context.Context, s side, specs []string, procs int) error {
	if len(specs) == 0 {
		return nil
	}
	if err := c.env.alive(); err != nil {
		return err
	}
	c.passes++
	p := pass{
		name:       fmt.Sprintf("%s-%s-%02d", c.began.Format("150405"), fileName(s), c.passes),
		folder:     c.out,
		kubeconfig: c.env.kubeconfig(s),
		procs:      min(procs, len(specs)),
		specs:      specs,
	}
	log := filepath.Join(c.out, p.name+".log")
	c.logf("%s: %d specs", s, len(specs))
	found, err := c.tests.run(ctx, p)
	counts := map[state]int{}
	for i := range found {
		found[i].Side, found[i].Of, found[i].Log = s, c.env.subject[s], p.name+".log"
		counts[found[i].State]++
	}
	if addErr := c.results.add(found); addErr != nil {
		return errors.Join(err, addErr)
	}
	c.logf("%s: %d passed, %d failed, %d skipped themselves; %s", s, counts[passed], counts[failed], counts[skipped], log)
	for i := range found {
		if found[i].State == failed {
			c.logf("  failed %s: %s", s, found[i].Spec)
		}
	}
	if err == nil && len(found) < len(specs) {
		return fmt.Errorf("%d of %d specs did not run: see %s", len(specs)-len(found), len(specs), log)
	}
	return err
}

// fileName names the side in file names.
func fileName(s side) string {
	if s == direct {
		return "direct"
	}
	return "ak"
}

func (c *conformance) logf(format string, args ...any) {
	_, _ = fmt.Fprintf(c.progress, "%6s  %s\n", time.Since(c.began).Round(time.Second), fmt.Sprintf(format, args...))
}
