package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
)

const prefix = "akd"

// Results of a reconcile or a token renewal.
const (
	ResultSuccess = "success"
	ResultError   = "error"
)

// Build identifies the program.
type Build struct {
	// Version such as v0.3.0, and the commit it was built from.
	Version, Revision string
}

// Metrics are those of one akd, in a registry of their own. Make them with New.
type Metrics struct {
	registry *prometheus.Registry
	clock    clock.PassiveClock

	queues     queues
	reconciles *prometheus.CounterVec
	reconcile  prometheus.Histogram
	requests   *prometheus.CounterVec
	request    *prometheus.HistogramVec
	renewals   *prometheus.CounterVec
}

// New returns Metrics at zero. The clock measures requests and the silence of
// the remote.
func New(build Build, clock clock.PassiveClock) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		clock:    clock,
		queues:   newQueues(),
		reconciles: counter("reconcile_total",
			"Reconciles of a pod, a namespace or another object, by result: success, or error, which is retried.", "result"),
		reconcile: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: prefix, Name: "reconcile_duration_seconds", Buckets: buckets(),
			Help: "Time that one reconcile takes, in seconds.",
		}),
		requests: counter("requests_total",
			"Requests to the API servers, by cluster (local or remote), verb, resource with its subresource, and HTTP status code; "+
				"error instead of a code when there was no answer, canceled when akd did not wait for one.", "cluster", "verb", "resource", "code"),
		request: histogram("request_duration_seconds",
			"Time until the API server's answer begins, in seconds, by cluster (local or remote) and verb. Watches and streams are left out.",
			"cluster", "verb"),
		renewals: counter("token_renewals_total",
			"Service account tokens requested for pods, the first of each pod included, by result: success or error.", "result"),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: prefix, Name: "build_info", Help: "Always 1; the labels say which akd this is.",
		ConstLabels: prometheus.Labels{"version": build.Version, "revision": build.Revision, "go_version": runtime.Version()},
	})
	info.Set(1)
	m.registry.MustRegister(info, m.reconciles, m.reconcile, m.requests, m.request, m.renewals,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(m.queues.collectors()...)
	// A counter that first appears with its first error has no rate to alert on.
	for _, result := range []string{ResultSuccess, ResultError} {
		m.reconciles.WithLabelValues(result)
		m.renewals.WithLabelValues(result)
	}
	return m
}

// Gatherer gives the metrics, for /metrics.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Registerer takes metrics of other packages. Their names should begin with akd_.
func (m *Metrics) Registerer() prometheus.Registerer { return m.registry }

// Queues measures client-go's work queues by their names.
func (m *Metrics) Queues() workqueue.MetricsProvider { return m.queues }

// ObserveReconcile counts a reconcile that ended with the result.
func (m *Metrics) ObserveReconcile(result string, took time.Duration) {
	m.reconciles.WithLabelValues(result).Inc()
	m.reconcile.Observe(took.Seconds())
}

// CountTokenRenewal counts a token that was requested for a pod.
func (m *Metrics) CountTokenRenewal(result string) { m.renewals.WithLabelValues(result).Inc() }

// CountPods has the local pods of the node counted by phase when the metrics
// are read. Call it once.
func (m *Metrics) CountPods(byPhase func() map[string]int) {
	m.registry.MustRegister(newCounts("pods", "phase",
		"Local pods bound to the node, by phase.",
		[]string{"Pending", "Running", "Succeeded", "Failed", "Unknown"}, byPhase))
}

// CountMirrored has the objects that akd keeps in the remote cluster counted
// by kind when the metrics are read: Namespace, Pod, ConfigMap, Secret, Service,
// EndpointSlice. Call it once.
func (m *Metrics) CountMirrored(byKind func() map[string]int) {
	m.registry.MustRegister(newCounts("mirrored_objects", "kind",
		"Objects that akd keeps in the remote cluster, by kind.",
		[]string{"Namespace", "Pod", "ConfigMap", "Secret", "Service", "EndpointSlice"}, byKind))
}

// WatchRemote reports how long the remote has been silent. Call it once.
// answered is when it last answered, zero when it never has.
func (m *Metrics) WatchRemote(answered func() time.Time) {
	start := m.clock.Now()
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: prefix, Name: "remote_silence_seconds",
		Help: "Seconds since the remote API server last answered reads and writes; since the start of akd when it never has.",
	}, func() float64 {
		last := answered()
		if last.IsZero() {
			last = start
		}
		return max(0, m.clock.Since(last).Seconds())
	}))
}

// WatchLeader reports whether this akd serves the node. Call it once.
func (m *Metrics) WatchLeader(leads func() bool) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: prefix, Name: "leader", Help: "1 when this akd serves the node, 0 when it waits to.",
	}, func() float64 {
		if leads() {
			return 1
		}
		return 0
	}))
}

// WatchCredential reports when akd's credential for the other cluster ends,
// zero when it does not, and why it is not renewed, nil when it is. Call it once.
func (m *Metrics) WatchCredential(expires func() time.Time, failure func() error) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: prefix, Name: "credential_renewal_failing",
		Help: "1 while akd cannot renew its credential for the other cluster, or cannot use the stored one, 0 otherwise.",
	}, func() float64 {
		if failure() != nil {
			return 1
		}
		return 0
	}))
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: prefix, Name: "credential_expiration_timestamp_seconds",
		Help: "When akd's credential for the other cluster expires, in seconds since 1970; 0 when it does not.",
	}, func() float64 {
		if at := expires(); !at.IsZero() {
			return float64(at.Unix())
		}
		return 0
	}))
}

// counts is a gauge by one label whose values are asked for.
type counts struct {
	desc  *prometheus.Desc
	known []string
	count func() map[string]int
}

func newCounts(name, label, help string, known []string, count func() map[string]int) counts {
	return counts{
		desc:  prometheus.NewDesc(prometheus.BuildFQName(prefix, "", name), help, []string{label}, nil),
		known: known,
		count: count,
	}
}

// Describe implements prometheus.Collector.
func (c counts) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }

// Collect implements prometheus.Collector. What is not known is not shown: the
// labels stay bounded.
func (c counts) Collect(metrics chan<- prometheus.Metric) {
	counted := c.count()
	for _, value := range c.known {
		metrics <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(counted[value]), value)
	}
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: prefix, Name: name, Help: help}, labels)
}

func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: prefix, Name: name, Help: help, Buckets: buckets()}, labels)
}

// buckets in seconds, from a reconcile that only reads caches to a request
// that ran into its deadline.
func buckets() []float64 {
	return []float64{.0005, .001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
}
