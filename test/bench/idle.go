package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// idleMeasurement watches akd while its pods do nothing.
type idleMeasurement struct {
	pods int
	time time.Duration
}

func (m *idleMeasurement) needs() (needs, error) {
	if m.pods < 1 || m.time <= 0 {
		return needs{}, errors.New("nothing to measure: give --pods of 1 or more, and --for")
	}
	return needs{simulatedPods: m.pods, sides: []side{localSide}, namespaces: namespaces, akd: true}, nil
}

func (m *idleMeasurement) run(ctx context.Context, env *environment) (string, error) {
	d := env.daemon
	env.logf("creating %d pods", m.pods)
	if err := populate(ctx, env.onAK(), "idle", m.pods); err != nil {
		return "", err
	}
	if err := settled(ctx, d); err != nil {
		return "", err
	}
	before, err := readIdle(ctx, d)
	if err != nil {
		return "", err
	}
	env.logf("watching for %s", m.time)
	if err := pause(ctx, m.time); err != nil {
		return "", err
	}
	after, err := readIdle(ctx, d)
	if err != nil {
		return "", err
	}
	return m.report(before, after), d.keepHeap(ctx, "idle")
}

// pause lets time pass.
func pause(ctx context.Context, length time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(length):
		return nil
	}
}

// idleReading is what akd has used and requested so far.
type idleReading struct {
	usage    usage
	requests requests
}

func readIdle(ctx context.Context, d *daemon) (r idleReading, err error) {
	if r.usage, err = d.usage(); err != nil {
		return r, err
	}
	r.requests, err = d.requests(ctx)
	return r, err
}

func (m *idleMeasurement) report(before, after idleReading) string {
	share := 100 * float64(after.usage.cpu-before.usage.cpu) / float64(m.time)
	perMinute := float64(after.requests.since(before.requests).total()) / m.time.Minutes()
	rss := after.usage.rss
	t := table{head: []string{"pods", "minutes", "CPU, % of a core", "memory, MiB", "requests per minute"}}
	t.add(
		fmt.Sprint(m.pods),
		fmt.Sprintf("%.0f", m.time.Minutes()),
		fmt.Sprintf("%.1f", share),
		fmt.Sprint(rss),
		fmt.Sprintf("%.1f", perMinute),
	)
	return "### Pods that do nothing\n\n" + t.String() + "\n" +
		goal("at most 1% of a core", share <= 1, fmt.Sprintf("%.1f%%", share)) +
		goal("at most 250 MiB", rss <= 250, fmt.Sprintf("%d MiB", rss))
}
