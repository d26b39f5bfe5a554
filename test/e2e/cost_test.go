//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// requests are akd's requests by "cluster verb resource".
type requests map[string]int

// requests reads them from akd's own metrics, inside the local cluster's network.
func (b *bed) requests(t *testing.T) requests {
	t.Helper()
	page, err := b.ask(t.Context(), firstAKD, "/metrics")
	if err != nil {
		t.Fatalf("read akd's metrics: %v", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatalf("read akd's metrics: %v", err)
	}
	counts := requests{}
	for _, metric := range families["akd_requests_total"].GetMetric() {
		labels := map[string]string{}
		for _, label := range metric.GetLabel() {
			labels[label.GetName()] = label.GetValue()
		}
		counts[labels["cluster"]+" "+labels["verb"]+" "+labels["resource"]] += int(metric.GetCounter().GetValue())
	}
	return counts
}

// since returns what has been added to an earlier reading.
func (r requests) since(earlier requests) requests {
	added := requests{}
	for name, count := range r {
		if n := count - earlier[name]; n > 0 {
			added[name] = n
		}
	}
	return added
}

// atMost fails the test for each kind of request of which there are more.
func (r requests) atMost(t *testing.T, limits map[string]int) {
	t.Helper()
	for name, most := range limits {
		if r[name] > most {
			t.Errorf("%s: %d requests, want at most %d", name, r[name], most)
		}
	}
}

// writes leaves out what costs the clusters little: reads, events, and what is
// about the node and akd's own rights rather than about pods.
func (r requests) writes() requests {
	writes := requests{}
	for name, count := range r {
		words := strings.Fields(name)
		switch words[1] {
		case "get", "list", "watch":
			continue
		}
		switch words[2] {
		case "events", "leases", "nodes", "nodes/status", "certificatesigningrequests", "tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews":
			continue
		}
		writes[name] = count
	}
	return writes
}

// A pod costs one remote create, one Secret with its token, and at most three
// local status patches until it is Ready, and no read beside the watches. A
// restart with pods that have not changed costs none of it.
func TestCost(t *testing.T) {
	b := shared
	const pods = 20
	d := b.startAKD(t, exampleNode)
	namespace := b.namespace(t, "cost")
	b.apply(t, namespace, web(exampleNode, 1)) // the first opens the namespace
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=3m")
	before := b.requests(t)
	b.kubectl(t, "local", "scale", "deployment/web", "-n", namespace, fmt.Sprintf("--replicas=%d", 1+pods))
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=5m")
	cost := b.requests(t).since(before)
	t.Logf("requests for %d pods from their creation to Ready: %v", pods, cost)
	// Token requests are not counted: how often the authorizer lags behind a
	// binding, and so how many are repeated, depends on the machine.
	cost.atMost(t, map[string]int{
		"remote create pods":      pods,
		"remote create secrets":   pods,
		"local patch pods/status": 3 * (pods + 1), // the first pod may have a last word
		"remote patch pods":       0,
		"remote get pods":         0,
		"local get pods":          0,
		"local list pods":         0,
	})

	d.restartsQuietly(t)
}

// restartsQuietly restarts akd until that writes nothing but the node: a remote
// kubelet may have had a last word while akd was down, and then the next restart
// is the one with unchanged pods.
func (d *daemon) restartsQuietly(t *testing.T) {
	t.Helper()
	eventually(t, "a restart writes nothing but the node", func(context.Context) error {
		d.stop(t, syscall.SIGTERM)
		d.start(t)
		d.waitReady(t)
		d.bed.ready(t)
		restart := d.bed.requests(t)
		if writes := restart.writes(); len(writes) > 0 {
			return fmt.Errorf("it wrote %v", writes)
		}
		t.Logf("requests of a restart: %v", restart)
		return nil
	})
}

// ready waits until akd has read both clusters.
func (b *bed) ready(t *testing.T) {
	t.Helper()
	eventually(t, "akd is ready", func(ctx context.Context) error {
		_, err := b.ask(ctx, firstAKD, "/readyz")
		return err
	})
}
