//go:build e2e

package env

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Ports of the metrics server of one akd, and of another one beside it.
const (
	FirstMetrics  = "10254"
	SecondMetrics = "10255"
)

// MetricsPage gets a page from akd's metrics server, such as /metrics or
// /readyz, inside the local cluster's network.
func (e *Env) MetricsPage(ctx context.Context, port, path string) (string, error) {
	out, err := e.ExecLocal(ctx, "curl", "-sf", "http://127.0.0.1:"+port+path).Output()
	return string(out), err
}

// Unready returns what akd's /readyz says while akd is not ready, and an error
// otherwise.
func (e *Env) Unready(ctx context.Context, port string) (string, error) {
	if _, err := e.MetricsPage(ctx, port, "/readyz"); err == nil {
		return "", errors.New("akd is ready")
	}
	out, err := e.ExecLocal(ctx, "curl", "-s", "http://127.0.0.1:"+port+"/readyz").Output()
	return string(out), err
}

// WaitSynced waits until the akd with that metrics port has read both clusters,
// which one that stands by does, too.
func (e *Env) WaitSynced(t testing.TB, port string) {
	t.Helper()
	Eventually(t, "akd is ready", func(ctx context.Context) error {
		_, err := e.MetricsPage(ctx, port, "/readyz")
		return err
	})
}

// WaitLeader waits until the akd with that metrics port leads.
func (e *Env) WaitLeader(t testing.TB, port string) {
	t.Helper()
	e.waitLeading(t, port, true)
}

// WaitStandby waits until the akd with that metrics port does not lead.
func (e *Env) WaitStandby(t testing.TB, port string) {
	t.Helper()
	e.waitLeading(t, port, false)
}

func (e *Env) waitLeading(t testing.TB, port string, wanted bool) {
	t.Helper()
	Eventually(t, fmt.Sprintf("the akd with metrics on port %s leads: %t", port, wanted), func(ctx context.Context) error {
		leads, err := e.Leads(ctx, port)
		if err == nil && leads != wanted {
			err = fmt.Errorf("it leads: %t", leads)
		}
		return err
	})
}

// Leads reports whether the akd with that metrics port leads.
func (e *Env) Leads(ctx context.Context, port string) (bool, error) {
	page, err := e.MetricsPage(ctx, port, "/metrics")
	if err != nil {
		return false, err
	}
	return strings.Contains(page, "\nakd_leader 1\n"), nil
}

// Metric returns the value of a series on the /metrics of the akd with that
// metrics port, as it is written there, and "" if there is none.
func (e *Env) Metric(t testing.TB, port, series string) string {
	t.Helper()
	page, err := e.MetricsPage(t.Context(), port, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(page) {
		if value, found := strings.CutPrefix(line, series+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Requests counts akd's requests by "cluster verb resource".
type Requests map[string]int

// Requests reads them from akd's own metrics.
func (e *Env) Requests(t testing.TB) Requests {
	t.Helper()
	page, err := e.MetricsPage(t.Context(), FirstMetrics, "/metrics")
	if err != nil {
		t.Fatalf("read akd's metrics: %v", err)
	}
	counts, err := parseRequests(page)
	if err != nil {
		t.Fatalf("read akd's metrics: %v", err)
	}
	return counts
}

func parseRequests(page string) (Requests, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		return nil, err
	}
	counts := Requests{}
	for _, metric := range families["akd_requests_total"].GetMetric() {
		labels := map[string]string{}
		for _, label := range metric.GetLabel() {
			labels[label.GetName()] = label.GetValue()
		}
		counts[labels["cluster"]+" "+labels["verb"]+" "+labels["resource"]] += int(metric.GetCounter().GetValue())
	}
	return counts, nil
}

// Since returns what has been added to an earlier reading.
func (r Requests) Since(earlier Requests) Requests {
	added := Requests{}
	for name, count := range r {
		if n := count - earlier[name]; n > 0 {
			added[name] = n
		}
	}
	return added
}

// Total is the number of all requests.
func (r Requests) Total() int {
	total := 0
	for _, count := range r {
		total += count
	}
	return total
}

// AtMost fails the test for each kind of request of which there are more.
func (r Requests) AtMost(t testing.TB, limits map[string]int) {
	t.Helper()
	for name, most := range limits {
		if r[name] > most {
			t.Errorf("%s: %d requests, want at most %d", name, r[name], most)
		}
	}
}

// Writes leaves out reads, events, and requests that are about the node and
// akd's own rights: they cost the clusters little, and are not about pods.
func (r Requests) Writes() Requests {
	writes := maps.Clone(r)
	maps.DeleteFunc(writes, func(name string, _ int) bool {
		words := strings.Fields(name)
		switch words[1] {
		case "get", "list", "watch":
			return true
		}
		switch words[2] {
		case "events", "leases", "nodes", "nodes/status",
			"certificatesigningrequests", "tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectreviews":
			return true
		}
		return false
	})
	return writes
}
