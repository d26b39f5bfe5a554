package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// scaleMeasurement shows how akd's cost grows with pods, and with namespaces:
// one load after the other through AK, with nothing beside it.
type scaleMeasurement struct {
	pods       []int // in ten namespaces each
	namespaces []int // that the fewest pods are spread over
}

func (m *scaleMeasurement) run(ctx context.Context, b *bed) (_ string, err error) {
	if len(m.pods) == 0 || slices.Min(m.pods) < 1 || len(m.namespaces) > 0 && slices.Min(m.namespaces) < 1 {
		return "", errors.New("nothing to measure: give --pods and --namespaces of 1 or more")
	}
	if err := b.up(ctx, slices.Max(m.pods)); err != nil {
		return "", err
	}
	most := max(namespaces, slices.Max(append(m.namespaces, 0)))
	b.say("creating %d namespaces", most)
	if err := furnish(ctx, b.clients[localSide], most); err != nil {
		return "", err
	}
	d, err := newDaemon(ctx, b)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	t := table{head: []string{"pods", "namespaces", "pods/s", "akd's CPU per pod, ms", "peak of memory, MiB", "requests per pod", "writes per pod"}}
	row := func(pods, spread int) error {
		f, err := m.one(ctx, d, pods, spread)
		if err != nil {
			return err
		}
		each := float64(pods)
		t.add(fmt.Sprint(pods), fmt.Sprint(spread), fmt.Sprintf("%.0f", each/f.create.Seconds()), fmt.Sprintf("%.1f", milliseconds(f.cpu)/each),
			fmt.Sprint(f.peak), fmt.Sprintf("%.1f", float64(f.requests.total())/each), fmt.Sprintf("%.1f", float64(f.requests.writes().total())/each))
		return nil
	}
	for _, pods := range m.pods {
		if err := row(pods, namespaces); err != nil {
			return "", err
		}
	}
	for _, spread := range m.namespaces {
		if err := row(slices.Min(m.pods), spread); err != nil {
			return "", err
		}
	}
	return "### The same load at several sizes, each with an akd of its own\n\n" + t.String(), nil
}

// one creates and deletes pods through an akd that is started for them: memory
// is not given back at once.
func (m *scaleMeasurement) one(ctx context.Context, d *daemon, pods, spread int) (f figures, err error) {
	if err := d.start(ctx); err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	l := newLoad(d.bed.onAK(), fmt.Sprintf("scale-%d-%d", pods, spread), pods)
	l.spread, l.tokens = spread, true
	watch, stop := context.WithCancel(ctx)
	defer stop()
	if err := l.follow(watch); err != nil {
		return f, err
	}
	before, err := read(ctx, d)
	if err != nil {
		return f, err
	}
	if f.create, err = timed(ctx, []*load{l}, func(ctx context.Context, l *load) error { return l.create(ctx, isRunning) }); err != nil {
		return f, err
	}
	if err := d.keepHeap(ctx, fmt.Sprintf("scale-%d-%d", pods, spread)); err != nil {
		return f, err
	}
	if f.remove, err = timed(ctx, []*load{l}, func(ctx context.Context, l *load) error { return l.delete(ctx) }); err != nil {
		return f, err
	}
	if err := d.bed.empty(ctx); err != nil {
		return f, err
	}
	after, err := read(ctx, d)
	f.charge(before, after)
	d.bed.say("%d pods in %d namespaces: %.1f s to Running, %.1f s to gone", pods, spread, f.create.Seconds(), f.remove.Seconds())
	return f, err
}
