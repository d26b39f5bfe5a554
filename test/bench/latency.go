package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// latencyMeasurement creates and deletes real pods one after the other.
type latencyMeasurement struct {
	pods   int
	links  []time.Duration
	claims bool // each pod has a claim of its own
}

// section is that of the page: pods with claims have one of their own.
func (m *latencyMeasurement) section() string {
	if m.claims {
		return "latency-claims"
	}
	return "latency"
}

// moments of a pod's life that are timed.
type moments struct{ running, ready, gone []time.Duration }

func (m *latencyMeasurement) needs() (needs, error) {
	if m.pods < 1 || len(m.links) == 0 {
		return needs{}, errors.New("nothing to measure: give --pods of 1 or more, and --link")
	}
	return needs{sides: []side{localSide, remoteSide}, namespaces: namespaces, akd: true, storage: m.claims}, nil
}

func (m *latencyMeasurement) run(ctx context.Context, env *environment) (string, error) {
	var text strings.Builder
	for i, link := range m.links {
		if err := env.command(ctx, "link", "--latency", link.String()).Run(); err != nil {
			return "", fmt.Errorf("clusters link: %w", err)
		}
		section, err := m.link(ctx, env, fmt.Sprintf("l%d", i), link)
		if err != nil {
			return "", err
		}
		text.WriteString(section)
	}
	return text.String(), nil
}

// link measures over a link of that latency, direct and AK alternately.
func (m *latencyMeasurement) link(ctx context.Context, env *environment, run string, latency time.Duration) (string, error) {
	all := map[string]*moments{direct: {}, ak: {}}
	var loads []*load
	for i := -namespaces; i < m.pods; i++ { // the first pods open the namespaces and are not counted
		for kind, p := range map[string]place{direct: env.onReal(), ak: env.onAK()} {
			if m.claims {
				p.class = storageClass
			}
			l := newLoad(p, fmt.Sprintf("%s-%s-%d", run, strings.ToLower(kind), i+namespaces), 1)
			into := all[kind]
			if i < 0 {
				into = &moments{}
			}
			if err := m.one(ctx, l, into); err != nil {
				return "", err
			}
			loads = append(loads, l)
		}
		if i%10 == 9 {
			env.logf("link of %s: %d of %d pods", latency, i+1, m.pods)
		}
	}
	return m.report(latency, all), env.dropClaims(ctx, loads)
}

func (m *latencyMeasurement) one(ctx context.Context, l *load, into *moments) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := l.watch(ctx); err != nil {
		return err
	}
	if err := l.create(ctx, isReadyNow); err != nil {
		return err
	}
	if err := l.delete(ctx); err != nil {
		return err
	}
	into.running = append(into.running, l.spans(whenRequested, whenRunning)...)
	into.ready = append(into.ready, l.spans(whenRequested, whenReady)...)
	into.gone = append(into.gone, l.spans(whenDeleted, whenGone)...)
	return nil
}

func (m *latencyMeasurement) report(link time.Duration, all map[string]*moments) string {
	t := table{head: []string{
		"from request to", "direct p50, ms", "AK p50, ms", "added", "direct p90, ms", "AK p90, ms", "added",
	}}
	added := map[string]float64{}
	for _, moment := range []struct {
		name string
		of   func(*moments) []time.Duration
	}{
		{"Running", func(m *moments) []time.Duration { return m.running }},
		{"Ready", func(m *moments) []time.Duration { return m.ready }},
		{"gone", func(m *moments) []time.Duration { return m.gone }},
	} {
		row := []string{moment.name}
		for _, share := range []float64{0.5, 0.9} {
			without := milliseconds(percentile(moment.of(all[direct]), share))
			with := milliseconds(percentile(moment.of(all[ak]), share))
			row = append(row, fmt.Sprintf("%.0f", without), fmt.Sprintf("%.0f", with), fmt.Sprintf("%+.0f", with-without))
			if share == 0.5 {
				added[moment.name] = with - without
			}
		}
		t.add(row...)
	}
	what := "pods"
	if m.claims {
		what = "pods with a claim each,"
	}
	text := fmt.Sprintf("### %d %s one after the other, link between the clusters %s\n\n%s\n", m.pods, what, link, t.String())
	if link == 0 && !m.claims {
		text += goal("at most 30 ms more to Running (p50)", added["Running"] <= 30, fmt.Sprintf("%+.0f ms", added["Running"]))
		text += goal("at most 50 ms more to gone (p50)", added["gone"] <= 50, fmt.Sprintf("%+.0f ms", added["gone"]))
	}
	return text + "\n"
}
