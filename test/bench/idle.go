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

func (m *idleMeasurement) run(ctx context.Context, b *bed) (_ string, err error) {
	if m.pods < 1 || m.time <= 0 {
		return "", errors.New("nothing to measure: give --pods of 1 or more, and --for")
	}
	if err := b.up(ctx, m.pods); err != nil {
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
	b.say("creating %d pods", m.pods)
	if err := populate(ctx, b, "idle", m.pods); err != nil {
		return "", err
	}
	if err := settled(ctx, d); err != nil {
		return "", err
	}
	before, err := d.usage()
	if err != nil {
		return "", err
	}
	asked, err := d.requests(ctx)
	if err != nil {
		return "", err
	}
	b.say("watching for %s", m.time)
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-time.After(m.time):
	}
	text, err := m.report(ctx, d, before, asked)
	return text, errors.Join(err, d.keepHeap(ctx, "idle"))
}

func (m *idleMeasurement) report(ctx context.Context, d *daemon, before usage, asked requests) (string, error) {
	after, err := d.usage()
	if err != nil {
		return "", err
	}
	all, err := d.requests(ctx)
	if err != nil {
		return "", err
	}
	share := 100 * float64(after.cpu-before.cpu) / float64(m.time)
	perMinute := float64(all.since(asked).total()) / m.time.Minutes()
	t := table{head: []string{"pods", "minutes", "CPU, % of a core", "memory, MiB", "requests per minute"}}
	t.add(fmt.Sprint(m.pods), fmt.Sprintf("%.0f", m.time.Minutes()), fmt.Sprintf("%.1f", share), fmt.Sprint(after.rss), fmt.Sprintf("%.1f", perMinute))
	return "### Pods that do nothing\n\n" + t.String() + "\n" +
		goal("at most 1% of a core", share <= 1, fmt.Sprintf("%.1f%%", share)) +
		goal("at most 250 MiB", after.rss <= 250, fmt.Sprintf("%d MiB", after.rss)), nil
}
