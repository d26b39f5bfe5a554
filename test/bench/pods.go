package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// podsMeasurement creates and deletes many pods at once.
type podsMeasurement struct {
	sizes  []int
	rounds int
	tokens bool
	bare   []int // sizes that are measured once more without tokens
}

// kinds of runs, in the order of a round.
const (
	direct = "direct"
	both   = "both"
	// asked is both, with what kubelets ask for each pod and kwok does not.
	asked = "both, with tokens"
	ak    = "AK"
)

// kinds are those of this measurement.
func (m *podsMeasurement) kinds() []string {
	if m.tokens {
		return []string{direct, both, asked, ak}
	}
	return []string{direct, both, ak}
}

// figures of one run.
type figures struct {
	create, remove time.Duration // of all pods
	latency        []time.Duration
	clusters       processor     // of the clusters' processes
	cpu            time.Duration // akd's
	peak           int           // akd's, MiB
	requests       requests      // akd's
	served         requests      // everyone's
	profiled       profiled      // akd's
}

func (m *podsMeasurement) run(ctx context.Context, b *bed) (_ string, err error) {
	if len(m.sizes) == 0 || m.rounds < 1 {
		return "", errors.New("nothing to measure: give --pods and --rounds of 1 or more")
	}
	if err := b.up(ctx, slices.Max(m.sizes)); err != nil {
		return "", err
	}
	for _, client := range b.clients {
		if err := furnish(ctx, client, namespaces); err != nil {
			return "", err
		}
	}
	d, err := newDaemon(ctx, b)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.start(ctx); err != nil {
		return "", err
	}
	const warmUp = 2 * namespaces
	for _, kind := range m.kinds() {
		if _, err := m.one(ctx, d, kind, runName("warm", kind), warmUp); err != nil {
			return "", err
		}
	}
	var text strings.Builder
	for _, size := range m.sizes {
		section, err := m.size(ctx, d, size)
		if err != nil {
			return "", err
		}
		text.WriteString(section)
	}
	if !m.tokens {
		return text.String(), nil
	}
	bare := *m
	bare.tokens = false
	for _, size := range m.bare {
		section, err := bare.size(ctx, d, size)
		if err != nil {
			return "", err
		}
		text.WriteString(section)
	}
	return text.String(), nil
}

// size measures rounds of one number of pods.
func (m *podsMeasurement) size(ctx context.Context, d *daemon, size int) (string, error) {
	all := map[string][]figures{}
	for round := range m.rounds {
		for _, kind := range m.kinds() {
			run := runName(fmt.Sprintf("r%d", round), kind)
			if !m.tokens {
				run = "bare-" + run
			}
			f, err := m.one(ctx, d, kind, run, size)
			if err != nil {
				return "", err
			}
			d.bed.say("%d pods, round %d of %d, %s: %.1f s to Running, %.1f s to gone", size, round+1, m.rounds, kind, f.create.Seconds(), f.remove.Seconds())
			all[kind] = append(all[kind], f)
		}
	}
	return m.report(size, all), nil
}

// runName is a prefix of pods' names.
func runName(prefix, kind string) string {
	return prefix + "-" + strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(kind), ",", ""), " ", "-")
}

// one does one run and leaves both clusters empty.
func (m *podsMeasurement) one(ctx context.Context, d *daemon, kind, run string, size int) (f figures, err error) {
	b := d.bed
	var loads []*load
	switch kind {
	case direct:
		loads = []*load{newLoad(b.onKwok(remoteSide), run, size)}
	case both, asked:
		loads = []*load{newLoad(b.onKwok(localSide), run, size), newLoad(b.onKwok(remoteSide), run, size)}
	case ak:
		loads = []*load{newLoad(b.onAK(), run, size)}
	}
	watches, stop := context.WithCancel(ctx)
	defer stop()
	for _, l := range loads {
		l.tokens, l.asks = m.tokens, kind == asked
		if err := l.follow(watches); err != nil {
			return f, err
		}
	}
	before, err := read(ctx, d)
	if err != nil {
		return f, err
	}
	const most = 40 * time.Second
	name := fmt.Sprintf("%d-%s", size, run)
	profile := func() (profiled, error) { return profiled{}, nil }
	if kind == ak {
		profile = d.profile(ctx, name, most)
	}
	servers := b.profileServers(ctx, name, most)
	if f.create, err = timed(ctx, loads, func(ctx context.Context, l *load) error { return l.create(ctx, isRunning) }); err != nil {
		return f, err
	}
	if f.remove, err = timed(ctx, loads, func(ctx context.Context, l *load) error { return l.delete(ctx) }); err != nil {
		return f, err
	}
	if err := b.empty(ctx); err != nil {
		return f, err
	}
	f.latency = loads[0].spans(whenAsked, whenRunning)
	after, err := read(ctx, d)
	if err != nil {
		return f, err
	}
	f.charge(before, after)
	// Profiles may last longer than the load, and clusters are never quite idle.
	if f.profiled, err = profile(); err != nil {
		return f, err
	}
	return f, servers()
}

// meters are what everything has used so far.
type meters struct {
	akd              usage
	requests, served requests // akd's, and what the API servers were asked by everyone
	clusters         processor
}

// read reads the meters, and has akd's peak of memory begin anew.
func read(ctx context.Context, d *daemon) (m meters, err error) {
	if m.akd, err = d.usage(); err != nil {
		return m, err
	}
	if m.requests, err = d.requests(ctx); err != nil {
		return m, err
	}
	if m.served, err = d.bed.served(ctx); err != nil {
		return m, err
	}
	if m.clusters, err = d.bed.cpu(); err != nil {
		return m, err
	}
	return m, d.resetPeak()
}

// charge adds what was used between two readings.
func (f *figures) charge(before, after meters) {
	f.cpu, f.peak = after.akd.cpu-before.akd.cpu, after.akd.peak
	f.requests, f.served = after.requests.since(before.requests), after.served.since(before.served)
	f.clusters = after.clusters.since(before.clusters)
}

// timed does the same with each load at the same time.
func timed(ctx context.Context, loads []*load, do func(context.Context, *load) error) (time.Duration, error) {
	begin := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range loads {
		group.Go(func() error { return do(ctx, l) })
	}
	err := group.Wait()
	return time.Since(begin), err
}

func (m *podsMeasurement) report(size int, all map[string][]figures) string {
	rate := func(f figures) float64 { return float64(size) / f.create.Seconds() }
	each := func(kind string, figure func(figures) float64) series {
		var s series
		for _, f := range all[kind] {
			s = append(s, figure(f))
		}
		return s
	}
	work := func(f figures) float64 { return milliseconds(f.clusters.total()) / float64(size) }
	t := table{head: []string{fmt.Sprintf("%d pods", size), "to all Running, s", "pods/s", "p50, ms", "p90, ms", "p99, ms", "to all gone, s", "CPU of the clusters per pod, ms"}}
	for _, kind := range m.kinds() {
		row := []string{kind, each(kind, func(f figures) float64 { return f.create.Seconds() }).show("%.1f"), each(kind, rate).show("%.0f")}
		for _, share := range []float64{0.5, 0.9, 0.99} {
			row = append(row, fmt.Sprintf("%.0f", each(kind, func(f figures) float64 { return milliseconds(percentile(f.latency, share)) }).median()))
		}
		t.add(append(row, each(kind, func(f figures) float64 { return f.remove.Seconds() }).show("%.1f"), each(kind, work).show("%.0f"))...)
	}
	perPod := func(f figures) float64 { return float64(f.requests.writes().total()) / float64(size) }
	cpu := each(ak, func(f figures) float64 { return milliseconds(f.cpu) / float64(size) })
	peak := each(ak, func(f figures) float64 { return float64(f.peak) })
	writes := each(ak, perPod)
	toBoth, toDirect := ratio(each(ak, rate), each(both, rate)), ratio(each(ak, rate), each(direct, rate))

	var text strings.Builder
	most, with := 8.0, "a token and two ConfigMaps"
	if !m.tokens {
		most, with = 5, "two ConfigMaps and no token"
	}
	fmt.Fprintf(&text, "### %d pods in %d namespaces, each with %s\n\n%s\n", size, namespaces, with, t.String())
	fmt.Fprintf(&text, "Pods/s: AK/both %.2f, AK/direct %.2f. CPU of the clusters: AK/both %.2f.\nakd: %s ms of CPU per pod over its whole life, peak of memory %s MiB.\n\n", toBoth, toDirect, ratio(each(ak, work), each(both, work)), cpu.show("%.1f"), peak.show("%.0f"))
	text.WriteString("The clusters' CPU per pod, by component, ms:\n\n" + m.componentTable(all, size) + "\n")
	text.WriteString("Writes that each API server served per pod, to everyone:\n\n" + m.servedTable(all, size) + "\n")
	last := all[ak][len(all[ak])-1].requests
	text.WriteString("akd's requests over a pod's whole life, per pod:\n\n" + perPodTable(last, size) + "\n")
	own := each(ak, func(f figures) float64 { return f.profiled.own * milliseconds(f.cpu) / float64(size) })
	patches := each(ak, func(f figures) float64 { return float64(f.requests["local patch pods/status"]) / float64(size) })
	text.WriteString(goal("pods/s at least 0.9 of both", toBoth >= 0.9, fmt.Sprintf("%.2f", toBoth)))
	if m.tokens {
		toAsked := ratio(each(ak, rate), each(asked, rate))
		text.WriteString(goal("pods/s at least 0.9 of both with tokens: one request for each pod in each cluster, as kubelets make it", toAsked >= 0.9, fmt.Sprintf("%.2f", toAsked)))
	}
	text.WriteString(goal("pods/s at least 0.48 of direct, twice Liqo's share", toDirect >= 0.48,
		fmt.Sprintf("%.2f; both, the limit here, has %.2f", toDirect, ratio(each(both, rate), each(direct, rate)))))
	text.WriteString(goal(fmt.Sprintf("at most %.0f writes over a pod's life, events aside", most), writes.median() <= most, fmt.Sprintf("%.1f", writes.median())))
	text.WriteString(goal("at most 3 status patches of the local pod", patches.median() <= 3, fmt.Sprintf("%.1f", patches.median())))
	text.WriteString(goal("at most 1 ms of akd's CPU per pod besides transport and encoding", own.median() <= 1, fmt.Sprintf("%.1f ms", own.median())))
	if size >= 10000 && m.tokens {
		text.WriteString(goal("at most 250 MiB of memory with 10,000 pods", peak.median() <= 250, fmt.Sprintf("%.0f MiB", peak.median())))
	}
	return text.String() + "\n"
}

// servedTable lists the writes that count, by API server.
func (m *podsMeasurement) servedTable(all map[string][]figures, size int) string {
	known := map[string]bool{}
	for _, rounds := range all {
		for _, f := range rounds {
			for request := range f.served {
				if verb := strings.Fields(request)[1]; !slices.Contains([]string{"get", "list", "watch", "watchlist", "connect"}, verb) {
					known[request] = true
				}
			}
		}
	}
	c := comparison{
		kinds: m.kinds(), head: "cluster, verb, resource", show: "%.2f", least: 0.05,
		perPod: medians(all, size, func(f figures, request string) float64 { return float64(f.served[request]) }),
	}
	return c.table(slices.Sorted(maps.Keys(known)))
}

// componentTable lists the components that work for a pod, the busiest first.
func (m *podsMeasurement) componentTable(all map[string][]figures, size int) string {
	c := comparison{
		kinds: m.kinds(), head: "component", show: "%.1f", least: 0.1,
		perPod: medians(all, size, func(f figures, component string) float64 { return milliseconds(f.clusters[component]) }),
	}
	return c.table(slices.SortedFunc(maps.Keys(all[ak][0].clusters), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.perPod(ak, b), c.perPod(ak, a)), strings.Compare(a, b))
	}))
}

// comparison is a table of the same figures of several kinds of runs, by name.
type comparison struct {
	kinds      []string
	head, show string
	least      float64 // a row with less everywhere is left out
	perPod     func(kind, name string) float64
}

// medians gives a figure's median over the rounds, per pod.
func medians(all map[string][]figures, size int, figure func(figures, string) float64) func(kind, name string) float64 {
	return func(kind, name string) float64 {
		var s series
		for _, f := range all[kind] {
			s = append(s, figure(f, name)/float64(size))
		}
		return s.median()
	}
}

func (c comparison) table(names []string) string {
	t := table{head: append([]string{c.head}, c.kinds...)}
	for _, name := range names {
		row, most := []string{name}, 0.0
		for _, kind := range c.kinds {
			figure := c.perPod(kind, name)
			row, most = append(row, fmt.Sprintf(c.show, figure)), max(most, figure)
		}
		if most >= c.least {
			t.add(row...)
		}
	}
	return t.String()
}

// perPodTable lists the requests that count, the most frequent first.
func perPodTable(r requests, size int) string {
	t := table{head: []string{"cluster, verb, resource", "requests per pod"}}
	names := slices.SortedFunc(maps.Keys(r), func(a, b string) int {
		if d := r[b] - r[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		const least = 0.01
		if share := float64(r[name]) / float64(size); share >= least {
			t.add(name, fmt.Sprintf("%.2f", share))
		}
	}
	return t.String()
}
