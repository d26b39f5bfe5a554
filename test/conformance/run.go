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
	bed      *bed
	tests    tests
	results  *results
	excepted []exception
	progress io.Writer
	passes   int
	began    time.Time
}

func (o *options) run(ctx context.Context, out, progress io.Writer) (err error) {
	excepted, err := readExceptions()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("make the folder of results: %w", err)
	}
	c := &conformance{options: o, bed: newBed(o, progress), progress: progress, excepted: excepted, began: time.Now()}
	if c.results, err = openResults(o.out, o.resume); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.results.close()) }()
	defer func() { err = errors.Join(err, c.bed.down(context.WithoutCancel(ctx))) }()
	names, err := c.runAll(ctx)
	if len(names) > 0 {
		rows := c.results.compare(names, excepted, o.repeat > 1)
		err = errors.Join(err, writeReports(o.out, rows), printSummary(out, rows))
		if err == nil && count(rows)[failedThrough] > 0 {
			err = errDifferent
		}
	}
	return err
}

// runAll runs what was chosen, both ways, and returns the names of all of it.
func (c *conformance) runAll(ctx context.Context) ([]string, error) {
	if err := c.bed.up(ctx); err != nil {
		return nil, err
	}
	c.results.forget(direct, c.bed.of[direct])
	c.results.forget(through, c.bed.of[through])
	var err error
	if c.tests, err = c.bed.tests(ctx); err != nil {
		return nil, err
	}
	specs, err := c.tests.all(ctx, c.out)
	if err != nil {
		return nil, err
	}
	together, alone := c.choose(specs)
	all := slices.Concat(together, alone)
	if len(all) == 0 {
		return nil, fmt.Errorf("none of %d specs matches: see --suite, --focus and --skip", len(specs))
	}
	c.say("%d specs, %d of them one at a time", len(all), len(alone))
	for _, batch := range batches(together, c.batch) {
		if err := c.both(ctx, batch, c.procs); err != nil {
			return all, err
		}
	}
	for _, batch := range batches(alone, c.batch) {
		if err := c.both(ctx, batch, 1); err != nil {
			return all, err
		}
	}
	return all, c.again(ctx, all)
}

// both runs a batch directly and through AK, as often as it was asked for.
func (c *conformance) both(ctx context.Context, batch []string, procs int) error {
	if c.quick {
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

// again gives what failed on one side only a second chance on both, two at a
// time: on a busy machine now and then a spec misses its own deadline. What
// does not pass the second time either differs. What exceptions.yaml says needs
// none.
func (c *conformance) again(ctx context.Context, all []string) error {
	if c.repeat > 1 {
		return nil
	}
	differ := with(c.results.compare(all, c.excepted, false), failedThrough, failedDirect)
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
	if err := c.bed.alive(); err != nil {
		return err
	}
	c.passes++
	p := pass{
		name: fmt.Sprintf("%s-%s-%02d", c.began.Format("150405"), fileName(s), c.passes), folder: c.out,
		kubeconfig: c.bed.kubeconfig(s), procs: min(procs, len(specs)), specs: specs,
	}
	c.say("%s: %d specs", s, len(specs))
	found, err := c.tests.run(ctx, p)
	counts := map[state]int{}
	for i := range found {
		found[i].Side, found[i].Of, found[i].Log = s, c.bed.of[s], p.name+".log"
		counts[found[i].State]++
	}
	if addErr := c.results.add(found); addErr != nil {
		return errors.Join(err, addErr)
	}
	c.say("%s: %d passed, %d failed, %d skipped themselves; %s", s, counts[passed], counts[failed], counts[skipped], filepath.Join(c.out, p.name+".log"))
	for i := range found {
		if found[i].State == failed {
			c.say("  failed %s: %s", s, found[i].Spec)
		}
	}
	if err == nil && len(found) < len(specs) {
		return fmt.Errorf("%d of %d specs did not run: see %s", len(specs)-len(found), len(specs), filepath.Join(c.out, p.name+".log"))
	}
	return err
}

// fileName is the side in names of files.
func fileName(s side) string {
	if s == direct {
		return "direct"
	}
	return "ak"
}

func (c *conformance) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.progress, "%6s  %s\n", time.Since(c.began).Round(time.Second), fmt.Sprintf(format, args...))
}
