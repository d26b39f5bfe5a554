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

var update = flag.Bool("update", false, "write the goldens from what the reports are now")

// The tables are compared with those of earlier commits: their form must not
// change unnoticed.
func TestReports(t *testing.T) {
	t.Parallel()
	second := func(n ...float64) []time.Duration {
		var all []time.Duration
		for _, s := range n {
			all = append(all, time.Duration(s*float64(time.Second)))
		}
		return all
	}
	run := func(create float64, kinds requests) figures {
		return figures{
			create: second(create)[0], remove: second(create / 2)[0],
			latency:  second(create/2, create/3, create/4),
			clusters: processor{"remote-kube-apiserver": second(1.5)[0], "local-etcd": second(0.5)[0], "local-kwok": time.Millisecond},
			cpu:      second(0.4)[0], peak: 70, requests: kinds,
			served:   requests{"local post pods": 100, "remote post pods": 100, "remote list pods": 7, "local put leases": 2},
			profiled: profiled{own: 0.2},
		}
	}
	byAKD := requests{"local patch pods/status": 120, "remote create pods": 100, "local watch configmaps": 30, "remote create events": 300}
	runs := map[string][]figures{
		direct: {run(1, nil), run(1.2, nil)}, both: {run(2, nil), run(2.2, nil)},
		asked: {run(2.1, nil), run(2.4, nil)}, ak: {run(2.3, byAKD), run(2.5, byAKD)},
	}
	cli := &cliMeasurement{pods: 1200}
	cases := map[string]struct{ reason, got string }{
		"pods":      {"With tokens.", (&podsMeasurement{tokens: true}).report(100, runs)},
		"pods-bare": {"Without tokens there is one kind of run less, and one goal.", (&podsMeasurement{}).report(100, runs)},
		"latency": {"Goals are set without a link.", latencyReport(0, 3, map[string]*moments{
			direct: {running: second(0.5, 0.6, 0.7), ready: second(0.5), gone: second(1.3)},
			ak:     {running: second(0.51, 0.7, 0.9), ready: second(0.52), gone: second(1.2)},
		})},
		"latency-far": {"And none with one.", latencyReport(50*time.Millisecond, 1, map[string]*moments{
			direct: {running: second(0.5), ready: second(0.5), gone: second(1.3)},
			ak:     {running: second(0.6), ready: second(0.6), gone: second(1.4)},
		})},
		"cli": {"What was asked for, by either.", cli.report(
			requests{"GET /api/v1/pods?limit=500": 3}, requests{"GET /api/v1/pods?limit=500": 3, "GET /version": 1, "GET /api/v1/namespaces/a/pods/b": 2},
			requests{"local list pods": 3, "local get pods": 2})},
		"cli-cells": {"Two commands.", strings.Join(compared{
			kubectl: []ran{{took: second(1)[0], cpu: second(0.5)[0]}, {took: second(2)[0], cpu: second(0.7)[0]}},
			plugin:  []ran{{took: second(0.4)[0], cpu: second(0.1)[0]}, {took: second(0.6)[0], cpu: second(0.2)[0]}},
		}.cells("%.2f", time.Duration.Seconds), " | ")},
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
