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

func (m *restartMeasurement) needs() (needs, error) {
	if len(m.sizes) == 0 {
		return needs{}, errors.New("nothing to measure: give --pods")
	}
	return needs{simulatedPods: slices.Max(m.sizes), sides: []side{localSide}, namespaces: namespaces, akd: true}, nil
}

func (m *restartMeasurement) run(ctx context.Context, env *environment) (string, error) {
	t := table{head: []string{"pods", "to ready, s", "requests", "writes about pods", "CPU, s", "memory, MiB", "peak, MiB"}}
	var goals strings.Builder
	running := 0
	for _, size := range slices.Sorted(slices.Values(m.sizes)) {
		env.logf("creating pods until there are %d", size)
		if err := populate(ctx, env.onAK(), fmt.Sprintf("upto%d", size), size-running); err != nil {
			return "", err
		}
		running = size
		env.logf("restarting akd with %d pods", size)
		r, err := restart(ctx, env.daemon)
		if err != nil {
			return "", err
		}
		t.add(r.row(size)...)
		goals.WriteString(r.goals(size))
	}
	return "### Restart of akd\n\n" + t.String() + "\n" + goals.String(), nil
}

// restarted is the cost of a restart.
type restarted struct {
	took     time.Duration // until akd was ready
	requests requests
	used     usage
}

func (r restarted) row(size int) []string {
	return []string{
		fmt.Sprint(size),
		fmt.Sprintf("%.1f", r.took.Seconds()),
		fmt.Sprint(r.requests.total()),
		fmt.Sprint(r.requests.writes().total()),
		fmt.Sprintf("%.1f", r.used.cpu.Seconds()),
		fmt.Sprint(r.used.rss),
		fmt.Sprint(r.used.peak),
	}
}

func (r restarted) goals(size int) string {
	const many, limit = 10000, 15 * time.Second
	writes := r.requests.writes().total()
	text := goal(fmt.Sprintf("a restart with %d unchanged pods writes nothing but the node", size),
		writes == 0, fmt.Sprintf("%d writes", writes))
	if size >= many {
		text += goal("a restart with 10,000 pods in at most 15 s", r.took <= limit, fmt.Sprintf("%.1f s", r.took.Seconds()))
	}
	return text
}

// restart stops akd, starts it again, and waits until it has examined each pod.
func restart(ctx context.Context, d *daemon) (r restarted, err error) {
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

// settled waits until akd's CPU time stands almost still: akd has examined
// everything that its start has queued.
func settled(ctx context.Context, d *daemon) error {
	const interval, still = time.Second, 50 * time.Millisecond
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
		if err := pause(ctx, interval); err != nil {
			return err
		}
	}
}
