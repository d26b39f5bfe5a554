package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// requests are counts of requests by "cluster verb resource".
type requests map[string]int

// requests reads akd's own requests from its metrics.
func (d *daemon) requests(ctx context.Context) (requests, error) {
	body, err := d.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	samples, err := samplesOf(body, "akd_requests_total")
	if err != nil {
		return nil, fmt.Errorf("read akd's metrics: %w", err)
	}
	counts := requests{}
	for _, s := range samples {
		counts[s.labels["cluster"]+" "+s.labels["verb"]+" "+s.labels["resource"]] += s.value
	}
	return counts, nil
}

// sample is one series of a counter or a gauge.
type sample struct {
	labels map[string]string
	value  int
}

// samplesOf returns the series of a counter or a gauge from a page of metrics.
func samplesOf(page, name string) ([]sample, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		return nil, err
	}
	var samples []sample
	for _, metric := range families[name].GetMetric() {
		labels := map[string]string{}
		for _, label := range metric.GetLabel() {
			labels[label.GetName()] = label.GetValue()
		}
		samples = append(samples, sample{labels, int(metric.GetCounter().GetValue() + metric.GetGauge().GetValue())})
	}
	return samples, nil
}

// served reads the requests that the API servers have served to everyone: the
// clusters' own components, kwok, this measurement and akd.
func (env *environment) served(ctx context.Context) (requests, error) {
	counts := requests{}
	for s := range env.clients {
		samples, err := env.metric(ctx, s, "apiserver_request_total")
		if err != nil {
			return nil, err
		}
		for _, one := range samples {
			resource := one.labels["resource"]
			if sub := one.labels["subresource"]; sub != "" {
				resource += "/" + sub
			}
			counts[string(s)+" "+strings.ToLower(one.labels["verb"])+" "+resource] += one.value
		}
	}
	return counts, nil
}

// watches is the number of watches that the API servers serve to everyone now.
func (env *environment) watches(ctx context.Context) (float64, error) {
	watches := 0
	for s := range env.clients {
		samples, err := env.metric(ctx, s, "apiserver_longrunning_requests")
		if err != nil {
			return 0, err
		}
		for _, one := range samples {
			if strings.EqualFold(one.labels["verb"], "watch") {
				watches += one.value
			}
		}
	}
	return float64(watches), nil
}

// metric reads a counter or a gauge of an API server.
func (env *environment) metric(ctx context.Context, s side, name string) ([]sample, error) {
	body, err := env.clients[s].RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the %s API server's metrics: %w", s, err)
	}
	samples, err := samplesOf(string(body), name)
	if err != nil {
		return nil, fmt.Errorf("read the %s API server's metrics: %w", s, err)
	}
	return samples, nil
}

// since returns the requests after an earlier reading.
func (r requests) since(earlier requests) requests {
	added := requests{}
	for name, count := range r {
		if n := count - earlier[name]; n > 0 {
			added[name] = n
		}
	}
	return added
}

// writes leaves out reads, copied events, and requests about the node and akd's
// own rights rather than about pods.
func (r requests) writes() requests {
	writes := requests{}
	for name, count := range r {
		words := strings.Fields(name)
		switch words[1] {
		case "get", "list", "watch":
			continue
		}
		switch words[2] {
		case "events", "leases", "nodes", "nodes/status", "certificatesigningrequests",
			"tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews":
			continue
		}
		writes[name] = count
	}
	return writes
}

func (r requests) total() int {
	total := 0
	for _, count := range r {
		total += count
	}
	return total
}
