package kubeletapi

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/disclosure"
)

func compareNames(x, y *corev1.Pod) int {
	return cmp.Or(strings.Compare(x.Namespace, y.Namespace), strings.Compare(x.Name, y.Name))
}

// summary serves /stats/summary with CPU and memory. Disks, network and processes are
// those of remote machines.
func (s *Server) summary(w http.ResponseWriter, r *http.Request) {
	usage := s.usage.report(r.Context(), s.cfg.Pods.List())
	out := stats.Summary{
		Node: stats.NodeStats{NodeName: s.cfg.NodeName, StartTime: metav1.NewTime(s.cfg.StartTime)},
		Pods: []stats.PodStats{},
	}
	if usage.err != nil {
		// RFC 7234, 5.5: 299 is a miscellaneous, persistent warning.
		w.Header().Set("Warning", fmt.Sprintf("299 akd %q", "no usage: "+disclosure.Text(usage.err.Error())))
	} else {
		out.Node.CPU, out.Node.Memory = usage.node.stats()
	}
	for _, p := range usage.pods {
		out.Pods = append(out.Pods, p.stats())
	}
	s.writeJSON(w, &out)
}

func (p podCounters) stats() stats.PodStats {
	out := stats.PodStats{
		PodRef:     stats.PodReference{Name: p.pod.Name, Namespace: p.pod.Namespace, UID: string(p.pod.UID)},
		Containers: []stats.ContainerStats{},
	}
	if p.pod.Status.StartTime != nil {
		out.StartTime = *p.pod.Status.StartTime
	}
	if !p.total.at.IsZero() {
		out.CPU, out.Memory = p.total.stats()
	}
	for _, c := range p.containers {
		container := stats.ContainerStats{Name: c.name, StartTime: metav1.NewTime(c.started)}
		container.CPU, container.Memory = c.stats()
		out.Containers = append(out.Containers, container)
	}
	return out
}

func (c cpuCounter) stats() (*stats.CPUStats, *stats.MemoryStats) {
	at := metav1.NewTime(c.at)
	return &stats.CPUStats{Time: at, UsageNanoCores: new(c.rate), UsageCoreNanoSeconds: new(c.cpu)},
		&stats.MemoryStats{Time: at, UsageBytes: new(c.memory), WorkingSetBytes: new(c.memory)}
}

// Names, labels and help texts are those of the kubelet, which are stable.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/metrics/collectors/resource_metrics.go
type resourceCollector struct {
	report report
}

func (c resourceCollector) Describe(chan<- *prometheus.Desc) {} // unchecked: it exists for one response only

// Collect implements prometheus.Collector.
func (c resourceCollector) Collect(ch chan<- prometheus.Metric) {
	scrapeError := 0.0
	if c.report.err != nil {
		scrapeError = 1
	}
	ch <- gauge("resource_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise", scrapeError)
	if c.report.err == nil {
		n := c.report.node
		ch <- prometheus.NewMetricWithTimestamp(n.at, counter("node_cpu_usage_seconds_total",
			"Cumulative cpu time consumed by the node in core-seconds", n.cpu))
		ch <- prometheus.NewMetricWithTimestamp(n.at, gauge("node_memory_working_set_bytes",
			"Current working set of the node in bytes", float64(n.memory)))
	}
	for _, p := range c.report.pods {
		if !p.total.at.IsZero() {
			p.collect(ch)
		}
	}
}

func (p podCounters) collect(ch chan<- prometheus.Metric) {
	pod := labels{{"pod", p.pod.Name}, {"namespace", p.pod.Namespace}}
	for _, c := range p.containers {
		of := append(labels{{"container", c.name}}, pod...)
		if !c.started.IsZero() {
			ch <- gauge("container_start_time_seconds", "Start time of the container since unix epoch in seconds",
				float64(c.started.UnixNano())/float64(time.Second), of...)
		}
		ch <- prometheus.NewMetricWithTimestamp(c.at, counter("container_cpu_usage_seconds_total",
			"Cumulative cpu time consumed by the container in core-seconds", c.cpu, of...))
		ch <- prometheus.NewMetricWithTimestamp(c.at, gauge("container_memory_working_set_bytes",
			"Current working set of the container in bytes", float64(c.memory), of...))
	}
	ch <- prometheus.NewMetricWithTimestamp(p.total.at, counter("pod_cpu_usage_seconds_total",
		"Cumulative cpu time consumed by the pod in core-seconds", p.total.cpu, pod...))
	ch <- prometheus.NewMetricWithTimestamp(p.total.at, gauge("pod_memory_working_set_bytes",
		"Current working set of the pod in bytes", float64(p.total.memory), pod...))
}

type labels [][2]string

func (l labels) desc(name, help string) (*prometheus.Desc, []string) {
	var keys, values []string
	for _, pair := range l {
		keys, values = append(keys, pair[0]), append(values, pair[1])
	}
	return prometheus.NewDesc(name, help, keys, nil), values
}

func gauge(name, help string, value float64, of ...[2]string) prometheus.Metric {
	desc, values := labels(of).desc(name, help)
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, values...)
}

func counter(name, help string, nanoseconds uint64, of ...[2]string) prometheus.Metric {
	desc, values := labels(of).desc(name, help)
	return prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(nanoseconds)/float64(time.Second), values...)
}

// resourceMetrics serves /metrics/resource, which metrics-server scrapes.
func (s *Server) resourceMetrics(w http.ResponseWriter, r *http.Request) {
	usage := s.usage.report(r.Context(), s.cfg.Pods.List())
	writeMetrics(w, r, usage.note(), resourceCollector{usage})
}

// containerMetrics serves /metrics/cadvisor with the series that dashboards and rules read
// for a pod's CPU and memory. The other ones are about disks and networks of machines.
func (s *Server) containerMetrics(w http.ResponseWriter, r *http.Request) {
	usage := s.usage.report(r.Context(), s.cfg.Pods.List())
	writeMetrics(w, r, usage.note(), containerCollector{usage})
}

// note is why usage is missing, or empty.
func (r report) note() string {
	if r.err == nil {
		return ""
	}
	return "no usage: " + disclosure.Text(r.err.Error())
}

// writeMetrics always uses the text format, where a comment can say why series are
// missing. To a scraper, a path that answers without any is well.
func writeMetrics(w http.ResponseWriter, r *http.Request, note string, collectors ...prometheus.Collector) {
	registry := prometheus.NewPedanticRegistry()
	for _, collector := range collectors {
		if err := registry.Register(collector); err != nil {
			writeError(w, r, apierrors.NewInternalError(err))
			return
		}
	}
	families, err := registry.Gather()
	if err != nil {
		writeError(w, r, apierrors.NewInternalError(fmt.Errorf("gather metrics: %w", err)))
		return
	}
	var text bytes.Buffer
	if note != "" {
		fmt.Fprintf(&text, "# %s\n", note)
	}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			writeError(w, r, apierrors.NewInternalError(fmt.Errorf("write metrics: %w", err)))
			return
		}
	}
	w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	_, _ = w.Write(text.Bytes())
}

// containerCollector has names, labels and help texts of cAdvisor in a kubelet. The series
// of a whole pod has no container and no image.
// https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/server/server.go
type containerCollector struct {
	report report
}

func (c containerCollector) Describe(chan<- *prometheus.Desc) {} // unchecked: it exists for one response only

// Collect implements prometheus.Collector.
func (c containerCollector) Collect(ch chan<- prometheus.Metric) {
	for _, p := range c.report.pods {
		if p.total.at.IsZero() {
			continue
		}
		p.total.collect(ch, labels{{"container", ""}, {"image", ""}, {"name", ""}, {"namespace", p.pod.Namespace}, {"pod", p.pod.Name}})
		for _, container := range p.containers {
			image, id := runs(p.pod, container.name)
			of := labels{
				{"container", container.name}, {"image", image}, {"name", id}, {"namespace", p.pod.Namespace}, {"pod", p.pod.Name},
			}
			container.collect(ch, of)
			if !container.started.IsZero() {
				ch <- prometheus.NewMetricWithTimestamp(container.at, gauge("container_start_time_seconds",
					"Start time of the container since unix epoch in seconds.", float64(container.started.Unix()), of...))
			}
		}
	}
}

func (c cpuCounter) collect(ch chan<- prometheus.Metric, of labels) {
	ch <- prometheus.NewMetricWithTimestamp(c.at, counter("container_cpu_usage_seconds_total",
		"Cumulative cpu time consumed in seconds.", c.cpu, append(labels{{"cpu", "total"}}, of...)...))
	ch <- prometheus.NewMetricWithTimestamp(c.at, gauge("container_memory_working_set_bytes",
		"Current working set in bytes.", float64(c.memory), of...))
}

// runs returns the image and the ID of a container as its runtime has them.
func runs(pod *corev1.Pod, container string) (image, id string) {
	for _, statuses := range [][]corev1.ContainerStatus{
		pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses,
	} {
		for i := range statuses {
			if statuses[i].Name == container {
				_, id, _ = strings.Cut(statuses[i].ContainerID, "://")
				return cmp.Or(statuses[i].Image, statuses[i].ImageID), id
			}
		}
	}
	return "", ""
}
