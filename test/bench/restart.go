package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// restartMeasurement restarts akd while its pods run.
type restartMeasurement struct{ sizes []int }

func (m *restartMeasurement) run(ctx context.Context, b *bed) (_ string, err error) {
	if len(m.sizes) == 0 {
		return "", errors.New("nothing to measure: give --pods")
	}
	slices.Sort(m.sizes)
	if err := b.up(ctx, m.sizes[len(m.sizes)-1]); err != nil {
		return "", err
	}
	if err := furnish(ctx, b.clients[localSide], namespaces); err != nil {
		return "", err
	}
	d, err := newDaemon(ctx, b)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.start(ctx); err != nil {
		return "", err
	}
	t := table{head: []string{"pods", "to ready, s", "requests", "writes about pods", "CPU, s", "memory, MiB", "peak, MiB"}}
	var goals strings.Builder
	there := 0
	for _, size := range m.sizes {
		b.say("creating pods until there are %d", size)
		if err := populate(ctx, b, fmt.Sprintf("upto%d", size), size-there); err != nil {
			return "", err
		}
		there = size
		r, err := m.restart(ctx, d, size)
		if err != nil {
			return "", err
		}
		writes := r.requests.writes()
		t.add(fmt.Sprint(size), fmt.Sprintf("%.1f", r.took.Seconds()), fmt.Sprint(r.requests.total()), fmt.Sprint(writes.total()),
			fmt.Sprintf("%.1f", r.used.cpu.Seconds()), fmt.Sprint(r.used.rss), fmt.Sprint(r.used.peak))
		goals.WriteString(goal(fmt.Sprintf("a restart with %d unchanged pods writes nothing but the node", size), writes.total() == 0, fmt.Sprintf("%d writes", writes.total())))
		if size >= 10000 {
			goals.WriteString(goal("a restart with 10,000 pods in at most 15 s", r.took <= 15*time.Second, fmt.Sprintf("%.1f s", r.took.Seconds())))
		}
	}
	return "### Restart of akd\n\n" + t.String() + "\n" + goals.String(), nil
}

// restarted is what a restart cost.
type restarted struct {
	took     time.Duration // until akd was ready
	requests requests
	used     usage
}

// restart stops akd, starts it again, and waits until it has looked at each pod.
func (m *restartMeasurement) restart(ctx context.Context, d *daemon, size int) (r restarted, err error) {
	d.bed.say("restarting akd with %d pods", size)
	if err := d.stop(); err != nil {
		return r, err
	}
	begin := time.Now()
	if err := d.start(ctx); err != nil {
		return r, err
	}
	r.took = time.Since(begin)
	if err := settled(ctx, d); err != nil {
		return r, err
	}
	if r.requests, err = d.requests(ctx); err != nil {
		return r, err
	}
	r.used, err = d.usage()
	return r, err
}

// settled waits until akd's CPU time stands almost still: it has looked at
// everything that its start has queued.
func settled(ctx context.Context, d *daemon) error {
	const pause, still = time.Second, 50 * time.Millisecond
	last := time.Duration(-1)
	for {
		used, err := d.usage()
		if err != nil {
			return err
		}
		if last >= 0 && used.cpu-last <= still {
			return nil
		}
		last = used.cpu
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// populate creates pods on AK's node that stay.
func populate(ctx context.Context, b *bed, run string, count int) error {
	watch, stop := context.WithCancel(ctx)
	defer stop()
	l := newLoad(b.onAK(), run, count)
	if err := l.follow(watch); err != nil {
		return err
	}
	return l.create(ctx, isRunning)
}
