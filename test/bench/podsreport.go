package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// podsReport is the section about one number of pods.
type podsReport struct {
	pods   int
	tokens bool
	kinds  []string
	all    map[string][]figures // the rounds of each kind
}

func (m *podsMeasurement) report(pods int, all map[string][]figures) string {
	return podsReport{pods: pods, tokens: m.tokens, kinds: m.kinds(), all: all}.String()
}

// String is the section as Markdown.
func (r podsReport) String() string {
	with := "a token and two ConfigMaps"
	if !r.tokens {
		with = "two ConfigMaps and no token"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "### %d pods in %d namespaces, each with %s\n\n%s\n", r.pods, namespaces, with, r.table())
	fmt.Fprintf(&text, "Pods/s: AK/both %.2f, AK/direct %.2f. CPU of the clusters: AK/both %.2f.\n",
		ratio(r.rate(ak), r.rate(both)), ratio(r.rate(ak), r.rate(direct)), ratio(r.work(ak), r.work(both)))
	fmt.Fprintf(&text, "akd: %s ms of CPU per pod over its whole life, peak of memory %s MiB.\n\n",
		r.perPod(ak, func(f figures) float64 { return milliseconds(f.cpu) }).show("%.1f"), r.peak().show("%.0f"))
	text.WriteString("The clusters' CPU per pod, by component, ms:\n\n" + r.componentTable() + "\n")
	text.WriteString("Writes that each API server served per pod, to everyone:\n\n" + r.servedTable() + "\n")
	text.WriteString("akd's requests over a pod's whole life, per pod:\n\n" + r.requestTable() + "\n")
	text.WriteString(r.goals())
	return text.String() + "\n"
}

// series is a figure of each round of a kind.
func (r podsReport) series(kind string, figure func(figures) float64) series {
	var s series
	for _, f := range r.all[kind] {
		s = append(s, figure(f))
	}
	return s
}

// perPod is a figure of each round of a kind, divided by the number of pods.
func (r podsReport) perPod(kind string, figure func(figures) float64) series {
	return r.series(kind, func(f figures) float64 { return figure(f) / float64(r.pods) })
}

// rate is in pods per second.
func (r podsReport) rate(kind string) series {
	return r.series(kind, func(f figures) float64 { return float64(r.pods) / f.create.Seconds() })
}

// work is the clusters' CPU time per pod, in milliseconds.
func (r podsReport) work(kind string) series {
	return r.perPod(kind, func(f figures) float64 { return milliseconds(f.clusters.total()) })
}

// peak is akd's memory, in MiB.
func (r podsReport) peak() series {
	return r.series(ak, func(f figures) float64 { return float64(f.peak) })
}

func (r podsReport) table() string {
	t := table{head: []string{
		fmt.Sprintf("%d pods", r.pods), "to all Running, s", "pods/s", "p50, ms", "p90, ms", "p99, ms", "to all gone, s",
		"CPU of the clusters per pod, ms",
	}}
	seconds := func(kind string, span func(figures) time.Duration) string {
		return r.series(kind, func(f figures) float64 { return span(f).Seconds() }).show("%.1f")
	}
	for _, kind := range r.kinds {
		row := []string{kind, seconds(kind, func(f figures) time.Duration { return f.create }), r.rate(kind).show("%.0f")}
		for _, share := range []float64{0.5, 0.9, 0.99} {
			latency := r.series(kind, func(f figures) float64 { return milliseconds(percentile(f.latency, share)) })
			row = append(row, fmt.Sprintf("%.0f", latency.median()))
		}
		t.add(append(row, seconds(kind, func(f figures) time.Duration { return f.remove }), r.work(kind).show("%.0f"))...)
	}
	return t.String()
}

// goals says which goals are met.
func (r podsReport) goals() string {
	const (
		leastOfBoth   = 0.9
		leastOfDirect = 0.48
		mostPatches   = 3
		mostOwnCPU    = 1 // ms
		manyPods      = 10000
		mostMemory    = 250 // MiB, with that many pods
	)
	mostWrites := 5.0
	if r.tokens {
		mostWrites = 8
	}
	var text strings.Builder
	toBoth, toDirect := ratio(r.rate(ak), r.rate(both)), ratio(r.rate(ak), r.rate(direct))
	text.WriteString(goal("pods/s at least 0.9 of both", toBoth >= leastOfBoth, fmt.Sprintf("%.2f", toBoth)))
	if r.tokens {
		share := ratio(r.rate(ak), r.rate(bothWithTokens))
		text.WriteString(goal("pods/s at least 0.9 of both with tokens: one request for each pod in each cluster, as kubelets make it",
			share >= leastOfBoth, fmt.Sprintf("%.2f", share)))
	}
	text.WriteString(goal("pods/s at least 0.48 of direct, twice Liqo's share", toDirect >= leastOfDirect,
		fmt.Sprintf("%.2f; both, the limit here, has %.2f", toDirect, ratio(r.rate(both), r.rate(direct)))))
	writes := r.perPod(ak, func(f figures) float64 { return float64(f.requests.writes().total()) }).median()
	text.WriteString(goal(fmt.Sprintf("at most %.0f writes over a pod's life, events aside", mostWrites),
		writes <= mostWrites, fmt.Sprintf("%.1f", writes)))
	patches := r.perPod(ak, func(f figures) float64 { return float64(f.requests["local patch pods/status"]) }).median()
	text.WriteString(goal("at most 3 status patches of the local pod", patches <= mostPatches, fmt.Sprintf("%.1f", patches)))
	own := r.perPod(ak, func(f figures) float64 { return f.profiled.own * milliseconds(f.cpu) }).median()
	text.WriteString(goal("at most 1 ms of akd's CPU per pod besides transport and encoding",
		own <= mostOwnCPU, fmt.Sprintf("%.1f ms", own)))
	if r.pods >= manyPods && r.tokens {
		peak := r.peak().median()
		text.WriteString(goal("at most 250 MiB of memory with 10,000 pods", peak <= mostMemory, fmt.Sprintf("%.0f MiB", peak)))
	}
	return text.String()
}

// servedTable lists the writes that count, by API server.
func (r podsReport) servedTable() string {
	reads := []string{"get", "list", "watch", "watchlist", "connect"}
	writes := map[string]bool{}
	for _, rounds := range r.all {
		for _, f := range rounds {
			for request := range f.served {
				if verb := strings.Fields(request)[1]; !slices.Contains(reads, verb) {
					writes[request] = true
				}
			}
		}
	}
	c := comparison{
		kinds: r.kinds,
		head:  "cluster, verb, resource",
		show:  "%.2f",
		least: 0.05,
		perPod: func(kind, request string) float64 {
			return r.perPod(kind, func(f figures) float64 { return float64(f.served[request]) }).median()
		},
	}
	return c.table(slices.Sorted(maps.Keys(writes)))
}

// componentTable lists the components that work for a pod, the busiest first.
func (r podsReport) componentTable() string {
	c := comparison{
		kinds: r.kinds,
		head:  "component",
		show:  "%.1f",
		least: 0.1,
		perPod: func(kind, component string) float64 {
			return r.perPod(kind, func(f figures) float64 { return milliseconds(f.clusters[component]) }).median()
		},
	}
	return c.table(slices.SortedFunc(maps.Keys(r.all[ak][0].clusters), func(a, b string) int {
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

// requestTable lists akd's requests of the last round that count, the most
// frequent first.
func (r podsReport) requestTable() string {
	const least = 0.01
	all := r.all[ak][len(r.all[ak])-1].requests
	t := table{head: []string{"cluster, verb, resource", "requests per pod"}}
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(all[b], all[a]), strings.Compare(a, b))
	})
	for _, name := range names {
		if share := float64(all[name]) / float64(r.pods); share >= least {
			t.add(name, fmt.Sprintf("%.2f", share))
		}
	}
	return t.String()
}
