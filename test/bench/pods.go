package main

import (
	"context"
	"errors"
	"fmt"
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
	bare   []int // sizes that are measured again without tokens
}

// Kinds of runs, in the order of a round.
const (
	direct = "direct"
	both   = "both"
	// bothWithTokens is both, with the token requests that kubelets make and
	// kwok does not.
	bothWithTokens = "both, with tokens"
	ak             = "AK"
)

// kinds are those of this measurement.
func (m *podsMeasurement) kinds() []string {
	if m.tokens {
		return []string{direct, both, bothWithTokens, ak}
	}
	return []string{direct, both, ak}
}

// figures of one run.
type figures struct {
	create, remove time.Duration // of all pods
	latency        []time.Duration
	clusters       cpuTimes      // of the clusters' processes
	cpu            time.Duration // akd's
	peak           int           // akd's, MiB
	requests       requests      // akd's
	served         requests      // everyone's
	profiled       profiled      // akd's
}

func (m *podsMeasurement) needs() (needs, error) {
	if len(m.sizes) == 0 || m.rounds < 1 {
		return needs{}, errors.New("nothing to measure: give --pods and --rounds of 1 or more")
	}
	return needs{simulatedPods: slices.Max(m.sizes), sides: []side{localSide, remoteSide}, namespaces: namespaces, akd: true}, nil
}

func (m *podsMeasurement) run(ctx context.Context, env *environment) (string, error) {
	const warmUp = 2 * namespaces
	for _, kind := range m.kinds() {
		if _, err := m.one(ctx, env, kind, podsRun{runName("warm", kind), warmUp}); err != nil {
			return "", err
		}
	}
	text, err := m.all(ctx, env, m.sizes)
	if err != nil || !m.tokens {
		return text, err
	}
	bare := *m
	bare.tokens = false
	more, err := bare.all(ctx, env, m.bare)
	return text + more, err
}

// all measures each number of pods.
func (m *podsMeasurement) all(ctx context.Context, env *environment, sizes []int) (string, error) {
	var text strings.Builder
	for _, size := range sizes {
		section, err := m.size(ctx, env, size)
		if err != nil {
			return "", err
		}
		text.WriteString(section)
	}
	return text.String(), nil
}

// size measures rounds of one number of pods.
func (m *podsMeasurement) size(ctx context.Context, env *environment, size int) (string, error) {
	all := map[string][]figures{}
	for round := range m.rounds {
		for _, kind := range m.kinds() {
			name := runName(fmt.Sprintf("r%d", round), kind)
			if !m.tokens {
				name = "bare-" + name
			}
			f, err := m.one(ctx, env, kind, podsRun{name, size})
			if err != nil {
				return "", err
			}
			env.logf("%d pods, round %d of %d, %s: %.1f s to Running, %.1f s to gone",
				size, round+1, m.rounds, kind, f.create.Seconds(), f.remove.Seconds())
			all[kind] = append(all[kind], f)
		}
	}
	return m.report(size, all), nil
}

// podsRun is one load of a round.
type podsRun struct {
	name string // prefix of the pods' names
	size int
}

func runName(prefix, kind string) string {
	return prefix + "-" + strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(kind), ",", ""), " ", "-")
}

// one does one run and leaves both clusters empty.
func (m *podsMeasurement) one(ctx context.Context, env *environment, kind string, run podsRun) (f figures, err error) {
	loads := m.loads(env, kind, run)
	watches, stop := context.WithCancel(ctx)
	defer stop()
	for _, l := range loads {
		if err := l.watch(watches); err != nil {
			return f, err
		}
	}
	before, err := read(ctx, env)
	if err != nil {
		return f, err
	}
	const longest = 40 * time.Second
	name := fmt.Sprintf("%d-%s", run.size, run.name)
	profile := func() (profiled, error) { return profiled{}, nil }
	if kind == ak {
		profile = env.daemon.profile(ctx, name, longest)
	}
	servers := env.profileServers(ctx, name, longest)
	if f.create, err = timed(ctx, loads, createRunning); err != nil {
		return f, err
	}
	if f.remove, err = timed(ctx, loads, deleteGone); err != nil {
		return f, err
	}
	if err := env.empty(ctx); err != nil {
		return f, err
	}
	f.latency = loads[0].spans(whenRequested, whenRunning)
	after, err := read(ctx, env)
	if err != nil {
		return f, err
	}
	f.charge(before, after)
	// Wait for the profiles last: they may take longer than the load, and
	// clusters are never quite idle.
	if f.profiled, err = profile(); err != nil {
		return f, err
	}
	return f, servers()
}

// loads are those of one run, which create and delete at the same time.
func (m *podsMeasurement) loads(env *environment, kind string, run podsRun) []*load {
	var places []place
	switch kind {
	case direct:
		places = []place{env.onKwok(remoteSide)}
	case both, bothWithTokens:
		places = []place{env.onKwok(localSide), env.onKwok(remoteSide)}
	case ak:
		places = []place{env.onAK()}
	}
	var loads []*load
	for _, p := range places {
		p.tokens, p.requestTokens = m.tokens, kind == bothWithTokens
		loads = append(loads, newLoad(p, run.name, run.size))
	}
	return loads
}

// meters are what everything has used so far.
type meters struct {
	akd              usage
	requests, served requests // akd's, and those that the API servers have served to everyone
	clusters         cpuTimes
}

// read reads the meters, and restarts the measurement of akd's peak of memory.
func read(ctx context.Context, env *environment) (m meters, err error) {
	d := env.daemon
	if m.akd, err = d.usage(); err != nil {
		return m, err
	}
	if m.requests, err = d.requests(ctx); err != nil {
		return m, err
	}
	if m.served, err = env.served(ctx); err != nil {
		return m, err
	}
	if m.clusters, err = env.cpu(); err != nil {
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

// timed does the same with all loads at the same time.
func timed(ctx context.Context, loads []*load, do func(context.Context, *load) error) (time.Duration, error) {
	begin := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range loads {
		group.Go(func() error { return do(ctx, l) })
	}
	err := group.Wait()
	return time.Since(begin), err
}
