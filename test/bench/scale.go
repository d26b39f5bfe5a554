package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// scaleMeasurement shows how akd's cost grows with pods and with namespaces:
// one load after the other through AK, and nothing next to it.
type scaleMeasurement struct {
	pods       []int // in ten namespaces each
	namespaces []int // over which the smallest number of pods is spread
}

func (m *scaleMeasurement) needs() (needs, error) {
	if len(m.pods) == 0 || slices.Min(m.pods) < 1 || len(m.namespaces) > 0 && slices.Min(m.namespaces) < 1 {
		return needs{}, errors.New("nothing to measure: give --pods and --namespaces of 1 or more")
	}
	most := max(namespaces, slices.Max(append(m.namespaces, 0)))
	return needs{simulatedPods: slices.Max(m.pods), sides: []side{localSide}, namespaces: most}, nil
}

func (m *scaleMeasurement) run(ctx context.Context, env *environment) (string, error) {
	t := table{head: []string{
		"pods", "namespaces", "pods/s", "akd's CPU per pod, ms", "peak of memory, MiB", "requests per pod", "writes per pod",
	}}
	add := func(pods, spread int) error {
		f, err := m.one(ctx, env, pods, spread)
		if err != nil {
			return err
		}
		t.add(scaleRow(f, pods, spread)...)
		return nil
	}
	for _, pods := range m.pods {
		if err := add(pods, namespaces); err != nil {
			return "", err
		}
	}
	for _, spread := range m.namespaces {
		if err := add(slices.Min(m.pods), spread); err != nil {
			return "", err
		}
	}
	return "### The same load at several sizes, each with an akd of its own\n\n" + t.String(), nil
}

func scaleRow(f figures, pods, spread int) []string {
	each := float64(pods)
	return []string{
		fmt.Sprint(pods),
		fmt.Sprint(spread),
		fmt.Sprintf("%.0f", each/f.create.Seconds()),
		fmt.Sprintf("%.1f", milliseconds(f.cpu)/each),
		fmt.Sprint(f.peak),
		fmt.Sprintf("%.1f", float64(f.requests.total())/each),
		fmt.Sprintf("%.1f", float64(f.requests.writes().total())/each),
	}
}

// one creates and deletes pods through an akd that is started for them: a
// process does not return its memory at once.
func (m *scaleMeasurement) one(ctx context.Context, env *environment, pods, spread int) (f figures, err error) {
	d := env.daemon
	if err := d.start(ctx); err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	name := fmt.Sprintf("scale-%d-%d", pods, spread)
	there := env.onAK()
	there.spread = spread
	l := newLoad(there, name, pods)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := l.watch(ctx); err != nil {
		return f, err
	}
	before, err := read(ctx, env)
	if err != nil {
		return f, err
	}
	loads := []*load{l}
	if f.create, err = timed(ctx, loads, createRunning); err != nil {
		return f, err
	}
	if err := d.keepHeap(ctx, name); err != nil {
		return f, err
	}
	if f.remove, err = timed(ctx, loads, deleteGone); err != nil {
		return f, err
	}
	if err := env.empty(ctx); err != nil {
		return f, err
	}
	after, err := read(ctx, env)
	f.charge(before, after)
	env.logf("%d pods in %d namespaces: %.1f s to Running, %.1f s to gone", pods, spread, f.create.Seconds(), f.remove.Seconds())
	return f, err
}
