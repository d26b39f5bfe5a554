package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/workqueue"
)

// queues implements workqueue.MetricsProvider. The meanings are those of
// Kubernetes' own workqueue_ metrics.
// https://kubernetes.io/docs/reference/instrumentation/metrics/
type queues struct {
	depth, unfinished, longest *prometheus.GaugeVec
	adds, retries              *prometheus.CounterVec
	latency, work              *prometheus.HistogramVec
}

func newQueues() queues {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: prefix, Subsystem: "workqueue", Name: name, Help: help}, []string{"name"})
	}
	return queues{
		depth: gauge("depth", "Keys waiting in the queue."),
		unfinished: gauge("unfinished_work_seconds",
			"Seconds of work in progress that work_duration_seconds does not include yet. Large values indicate stuck workers."),
		longest: gauge("longest_running_processor_seconds", "Seconds that the longest running worker has been processing its key."),
		adds:    counter("workqueue_adds_total", "Keys added to the queue.", "name"),
		retries: counter("workqueue_retries_total", "Keys added again after an error.", "name"),
		latency: histogram("workqueue_queue_duration_seconds", "Time that a key waits in the queue in seconds.", "name"),
		work:    histogram("workqueue_work_duration_seconds", "Time that a worker processes a key in seconds.", "name"),
	}
}

func (q queues) collectors() []prometheus.Collector {
	return []prometheus.Collector{q.depth, q.unfinished, q.longest, q.adds, q.retries, q.latency, q.work}
}

// NewDepthMetric implements workqueue.MetricsProvider. A new queue is empty, even
// if its predecessor ended with keys in it.
func (q queues) NewDepthMetric(name string) workqueue.GaugeMetric {
	depth := q.depth.WithLabelValues(name)
	depth.Set(0)
	return depth
}

// NewAddsMetric implements workqueue.MetricsProvider.
func (q queues) NewAddsMetric(name string) workqueue.CounterMetric {
	return q.adds.WithLabelValues(name)
}

// NewLatencyMetric implements workqueue.MetricsProvider.
func (q queues) NewLatencyMetric(name string) workqueue.HistogramMetric {
	return q.latency.WithLabelValues(name)
}

// NewWorkDurationMetric implements workqueue.MetricsProvider.
func (q queues) NewWorkDurationMetric(name string) workqueue.HistogramMetric {
	return q.work.WithLabelValues(name)
}

// NewUnfinishedWorkSecondsMetric implements workqueue.MetricsProvider.
func (q queues) NewUnfinishedWorkSecondsMetric(name string) workqueue.SettableGaugeMetric {
	return q.unfinished.WithLabelValues(name)
}

// NewLongestRunningProcessorSecondsMetric implements workqueue.MetricsProvider.
func (q queues) NewLongestRunningProcessorSecondsMetric(name string) workqueue.SettableGaugeMetric {
	return q.longest.WithLabelValues(name)
}

// NewRetriesMetric implements workqueue.MetricsProvider.
func (q queues) NewRetriesMetric(name string) workqueue.CounterMetric {
	return q.retries.WithLabelValues(name)
}
