package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
)

const prefix = "akd"

// Results of a reconcile or of a token request.
const (
	ResultSuccess = "success"
	ResultError   = "error"
)

// Build identifies the program.
type Build struct {
	// Version is a release such as v0.3.0, Revision the commit it was built from.
	Version, Revision string
}

// Metrics are the metrics of one akd, in a registry of their own. Make them with
// New.
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

// New returns Metrics at zero. The clock measures the duration of requests.
func New(build Build, clock clock.PassiveClock) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		clock:    clock,
		queues:   newQueues(),
		reconciles: counter("reconcile_total",
			"Reconciles of pods, namespaces and other objects, by result: success, or error, which is retried.", "result"),
		reconcile: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: prefix, Name: "reconcile_duration_seconds", Buckets: buckets(),
			Help: "Duration of a reconcile in seconds.",
		}),
		requests: counter("requests_total",
			"Requests to the API servers, by cluster (local or remote), verb, resource with subresource, and HTTP status code. "+
				"The code is error if there was no response, and canceled if akd did not wait for one.",
			"cluster", "verb", "resource", "code"),
		request: histogram("request_duration_seconds",
			"Time until the response of the API server begins in seconds, by cluster (local or remote) and verb, without watches and streams.",
			"cluster", "verb"),
		renewals: counter("token_renewals_total",
			"Requests for service account tokens of pods, including the first, by result: success or error.", "result"),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: prefix, Name: "build_info", Help: "A constant 1, labeled with the version, the revision and the Go version of akd.",
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

// Gatherer returns what to serve at /metrics.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Registerer registers metrics of other packages. Their names should begin with
// akd_.
func (m *Metrics) Registerer() prometheus.Registerer { return m.registry }

// Queues measures the work queues of client-go, by name.
func (m *Metrics) Queues() workqueue.MetricsProvider { return m.queues }

// ObserveReconcile records a reconcile with its result and duration.
func (m *Metrics) ObserveReconcile(result string, took time.Duration) {
	m.reconciles.WithLabelValues(result).Inc()
	m.reconcile.Observe(took.Seconds())
}

// CountTokenRenewal records a request for a token of a pod.
func (m *Metrics) CountTokenRenewal(result string) { m.renewals.WithLabelValues(result).Inc() }

// CountPods registers a function that returns the number of local pods of the
// node by phase. It is called whenever metrics are read. Call CountPods once.
func (m *Metrics) CountPods(byPhase func() map[string]int) {
	m.registry.MustRegister(newCounts("pods", "phase",
		"Local pods bound to the node, by phase.",
		[]string{"Pending", "Running", "Succeeded", "Failed", "Unknown"}, byPhase))
}

// CountRemotelyPending registers a function that returns the number of local pods for
// which the remote scheduler finds no node. It is called whenever metrics are read.
// Call CountRemotelyPending once.
func (m *Metrics) CountRemotelyPending(pods func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: prefix, Name: "pods_remotely_pending",
		Help: "Local pods for which the remote scheduler finds no node. They are also counted as Pending in akd_pods.",
	}, func() float64 { return float64(pods()) }))
}

// CountMirrored registers a function that returns the number of objects that akd
// maintains in the remote cluster by kind: Namespace, Pod, ConfigMap, Secret,
// Service, EndpointSlice, PodDisruptionBudget, PersistentVolumeClaim. It is called
// whenever metrics are read. Call CountMirrored once.
func (m *Metrics) CountMirrored(byKind func() map[string]int) {
	m.registry.MustRegister(newCounts("mirrored_objects", "kind",
		"Objects that akd maintains in the remote cluster, by kind.",
		[]string{"Namespace", "Pod", "ConfigMap", "Secret", "Service", "EndpointSlice", "PodDisruptionBudget", "PersistentVolumeClaim"},
		byKind))
}

// CountVolumes registers a function that returns the number of volumes of claims by state:
// bound, waiting, kept, lost, orphan. It is called whenever metrics are read. Call
// CountVolumes once.
func (m *Metrics) CountVolumes(byState func() map[string]int) {
	m.registry.MustRegister(newCounts("volumes", "state",
		"Volumes of PersistentVolumeClaims whose data is in the remote cluster, by state.",
		[]string{volume.StateBound, volume.StateWaiting, volume.StateKept, volume.StateLost, volume.StateOrphan}, byState))
}

// WatchRemote registers a function that returns when the remote API server last
// answered the probe, or zero if it has not answered since akd started. Call
// WatchRemote once.
func (m *Metrics) WatchRemote(answered func() time.Time) {
	m.registry.MustRegister(timestamp("remote_last_success_timestamp_seconds",
		"Unix time at which the remote API server last answered reads and writes, or 0 if it has not since akd started.", answered))
}

// WatchLeader registers a function that reports whether this akd serves the
// node. Call WatchLeader once.
func (m *Metrics) WatchLeader(leads func() bool) {
	m.registry.MustRegister(boolean("leader", "1 if this akd serves the node, 0 if it stands by.", leads))
}

// WatchCredential registers functions that return when the credential of akd for
// the other cluster expires, or zero if it does not, and why it is not renewed, or
// nil if it is. Call WatchCredential once.
func (m *Metrics) WatchCredential(expires func() time.Time, failure func() error) {
	m.registry.MustRegister(
		boolean("credential_renewal_failing",
			"1 if akd cannot renew its credential for the other cluster or cannot use the stored one, 0 otherwise.",
			func() bool { return failure() != nil }),
		timestamp("credential_expiration_timestamp_seconds",
			"Unix time at which the credential of akd for the other cluster expires, or 0 if it does not expire.", expires),
	)
}

// boolean is a gauge of 1 or 0.
func boolean(name, help string, value func() bool) prometheus.GaugeFunc {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: prefix, Name: name, Help: help}, func() float64 {
		if value() {
			return 1
		}
		return 0
	})
}

// timestamp is a gauge of a Unix time in seconds, 0 for the zero time.
func timestamp(name, help string, value func() time.Time) prometheus.GaugeFunc {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: prefix, Name: name, Help: help}, func() float64 {
		at := value()
		if at.IsZero() {
			return 0
		}
		return float64(at.UnixMilli()) / 1000
	})
}

// counts is a gauge by one label, whose values come from a function.
type counts struct {
	desc   *prometheus.Desc
	values []string // of the label
	count  func() map[string]int
}

func newCounts(name, label, help string, values []string, count func() map[string]int) counts {
	return counts{
		desc:   prometheus.NewDesc(prometheus.BuildFQName(prefix, "", name), help, []string{label}, nil),
		values: values,
		count:  count,
	}
}

// Describe implements prometheus.Collector.
func (c counts) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }

// Collect implements prometheus.Collector. It leaves out unexpected values, so
// that the number of series stays bounded.
func (c counts) Collect(metrics chan<- prometheus.Metric) {
	counted := c.count()
	for _, value := range c.values {
		metrics <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(counted[value]), value)
	}
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: prefix, Name: name, Help: help}, labels)
}

func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: prefix, Name: name, Help: help, Buckets: buckets()}, labels)
}

// buckets in seconds reach from a reconcile that only reads caches to a request
// that exceeds its deadline.
func buckets() []float64 {
	return []float64{.0005, .001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
}
