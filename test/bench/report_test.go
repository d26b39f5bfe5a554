package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the reports into testdata; then read the difference")

func seconds(values ...float64) []time.Duration {
	var all []time.Duration
	for _, s := range values {
		all = append(all, time.Duration(s*float64(time.Second)))
	}
	return all
}

// testFigures are those of a run that took so many seconds.
func testFigures(create float64, byAKD requests) figures {
	return figures{
		create:  seconds(create)[0],
		remove:  seconds(create / 2)[0],
		latency: seconds(create/2, create/3, create/4),
		clusters: cpuTimes{
			"remote-kube-apiserver": seconds(1.5)[0],
			"local-etcd":            seconds(0.5)[0],
			"local-kwok":            time.Millisecond,
		},
		cpu:      seconds(0.4)[0],
		peak:     70,
		requests: byAKD,
		served:   requests{"local post pods": 100, "remote post pods": 100, "remote list pods": 7, "local put leases": 2},
		profiled: profiled{own: 0.2},
	}
}

// Tables are compared with those of earlier commits, so their form must not
// change unnoticed.
func TestReports(t *testing.T) {
	t.Parallel()
	byAKD := requests{"local patch pods/status": 120, "remote create pods": 100, "local watch configmaps": 30, "remote create events": 300}
	runs := map[string][]figures{
		direct:         {testFigures(1, nil), testFigures(1.2, nil)},
		both:           {testFigures(2, nil), testFigures(2.2, nil)},
		bothWithTokens: {testFigures(2.1, nil), testFigures(2.4, nil)},
		ak:             {testFigures(2.3, byAKD), testFigures(2.5, byAKD)},
	}
	near := map[string]*moments{
		direct: {running: seconds(0.5, 0.6, 0.7), ready: seconds(0.5), gone: seconds(1.3)},
		ak:     {running: seconds(0.51, 0.7, 0.9), ready: seconds(0.52), gone: seconds(1.2)},
	}
	far := map[string]*moments{
		direct: {running: seconds(0.5), ready: seconds(0.5), gone: seconds(1.3)},
		ak:     {running: seconds(0.6), ready: seconds(0.6), gone: seconds(1.4)},
	}
	byGet := requests{"GET /api/v1/pods?limit=500": 3}
	byWhere := requests{"GET /api/v1/pods?limit=500": 3, "GET /version": 1, "GET /api/v1/namespaces/a/pods/b": 2}
	commands := compared{
		kubectl: []ran{{took: seconds(1)[0], cpu: seconds(0.5)[0]}, {took: seconds(2)[0], cpu: seconds(0.7)[0]}},
		plugin:  []ran{{took: seconds(0.4)[0], cpu: seconds(0.1)[0]}, {took: seconds(0.6)[0], cpu: seconds(0.2)[0]}},
	}
	cases := map[string]struct{ reason, got string }{
		"pods":           {"With tokens.", (&podsMeasurement{tokens: true}).report(100, runs)},
		"pods-bare":      {"Without tokens there is one kind of run less, and one goal.", (&podsMeasurement{}).report(100, runs)},
		"latency":        {"The goals are those without a link.", (&latencyMeasurement{pods: 3}).report(0, near)},
		"latency-far":    {"A link has no goals.", (&latencyMeasurement{pods: 1}).report(50*time.Millisecond, far)},
		"latency-claims": {"Nor have claims.", (&latencyMeasurement{pods: 3, claims: true}).report(0, near)},
		"cli": {
			"The requests of both.",
			(&cliMeasurement{pods: 1200}).report(byGet, byWhere, requests{"local list pods": 3, "local get pods": 2}),
		},
		"cli-cells": {"The times of both.", strings.Join(commands.cells("%.2f", time.Duration.Seconds), " | ")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden := filepath.Join("testdata", name+".md")
			if *update {
				if err := os.WriteFile(golden, []byte(tc.got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), tc.got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// A measurement takes an hour: its section must not be missing at the end.
func TestPageHasEverySection(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/performance/tables.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := []string{(&latencyMeasurement{claims: true}).section()}
	for _, cmd := range command().Commands() {
		sections = append(sections, cmd.Name())
	}
	for _, section := range sections {
		for _, mark := range []string{"<!-- begin " + section + " -->\n", "<!-- end " + section + " -->\n"} {
			if !strings.Contains(string(page), mark) {
				t.Errorf("docs/performance/tables.md lacks %q", mark)
			}
		}
	}
}

// Clusters are expensive to bring up: a measurement says before what it needs.
func TestNeeds(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		m      measurement
		want   needs
		err    string
	}{
		"Pods": {
			reason: "Nodes hold the largest load.", m: &podsMeasurement{sizes: []int{200, 5000, 1000}, rounds: 1},
			want: needs{simulatedPods: 5000, sides: []side{localSide, remoteSide}, namespaces: namespaces, akd: true},
		},
		"Latency": {
			reason: "Real nodes.", m: &latencyMeasurement{pods: 1, links: []time.Duration{0}},
			want: needs{sides: []side{localSide, remoteSide}, namespaces: namespaces, akd: true},
		},
		"Claims": {
			reason: "A storage driver.", m: &latencyMeasurement{pods: 1, links: []time.Duration{0}, claims: true},
			want: needs{sides: []side{localSide, remoteSide}, namespaces: namespaces, akd: true, storage: true},
		},
		"Scale": {
			reason: "Each load has an akd of its own.", m: &scaleMeasurement{pods: []int{1000, 2000}, namespaces: []int{100}},
			want: needs{simulatedPods: 2000, sides: []side{localSide}, namespaces: 100},
		},
		"Nothing": {reason: "A flag's value can leave nothing.", m: &idleMeasurement{time: time.Minute}, err: "give --pods of 1 or more"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.m.needs()
			if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want %q", tc.reason, err, tc.err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(needs{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
