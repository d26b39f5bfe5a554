package kubeletapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	clocktesting "k8s.io/utils/clock/testing"
)

// samples answers each measurement with the next of a series.
func samples(series ...PodUsage) Usage {
	return func(context.Context) ([]PodUsage, error) {
		if len(series) > 1 {
			defer func() { series = series[1:] }()
		}
		return []PodUsage{series[0]}, nil
	}
}

func sample(at int64, cpu, memory uint64) PodUsage {
	return PodUsage{
		Namespace:  localNamespace,
		Name:       "web",
		Timestamp:  time.Unix(at, 0),
		Window:     15 * time.Second,
		Containers: []ContainerUsage{{Name: "main", CPU: cpu, Memory: memory}},
	}
}

// metrics-server takes the difference of two counters over the difference of
// their timestamps: it must find the remote's average again.
func TestCountersGiveTheRateBack(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Unix(2000, 0))
	series := []PodUsage{
		sample(2000, 250_000_000, 1<<20),
		sample(2015, 500_000_000, 2<<20),
		sample(2015, 500_000_000, 2<<20), // the remote has nothing newer
		sample(2047, 31_000_000, 3<<20),
		sample(2062, 0, 3<<20),
	}
	a := newCPUCounters(samples(series...), clock)
	var before, beforeNode cpuCounter
	for i, s := range series {
		clock.Step(usageAge)
		got := a.report(t.Context(), testPods())
		if got.err != nil || len(got.pods) != 4 {
			t.Fatalf("got %+v", got)
		}
		c := got.pods[3].containers[0].cpuCounter // the others sort first
		if i > 0 && c.at.After(before.at) {
			rate := float64(c.cpu-before.cpu) / c.at.Sub(before.at).Seconds()
			if rate != float64(s.Containers[0].CPU) {
				t.Errorf("sample %d: rate %v, want %d nanocores", i, rate, s.Containers[0].CPU)
			}
			node := float64(got.node.cpu-beforeNode.cpu) / got.node.at.Sub(beforeNode.at).Seconds()
			if node != rate {
				t.Errorf("sample %d: the node's rate is %v, its only container's %v", i, node, rate)
			}
		} else if i > 0 && c.cpu != before.cpu {
			t.Errorf("sample %d: the counter moved without a new measurement", i)
		}
		if c.cpu == 0 || got.node.cpu == 0 || got.node.memory == 0 {
			t.Errorf("sample %d: metrics-server drops zeros: %+v, node %+v", i, c, got.node)
		}
		before, beforeNode = c, got.node
	}
}

func TestRestartBeginsANewCounter(t *testing.T) {
	old := cpuCounter{cpu: 1e12, at: time.Unix(100, 0), started: time.Unix(50, 0)}
	got := old.next(ContainerUsage{CPU: 1e9}, time.Unix(120, 0), 10*time.Second, time.Unix(110, 0))
	if got.cpu != 10e9 {
		t.Errorf("got %d ns, want the 10 s of the window", got.cpu)
	}
}

func TestNodeCounterDoesNotFallWhenAPodGoes(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Unix(2000, 0))
	a := newCPUCounters(samples(sample(2000, 1e9, 1), sample(2015, 1e9, 1)), clock)
	a.report(t.Context(), testPods())
	clock.Step(15 * time.Second)
	with := a.report(t.Context(), testPods()).node
	clock.Step(15 * time.Second)
	without := a.report(t.Context(), nil).node
	if without.cpu < with.cpu || !without.at.After(with.at) {
		t.Errorf("went from %+v to %+v", with, without)
	}
	if len(a.containers) != 0 || len(a.pods) != 0 {
		t.Error("a pod that is gone is still counted")
	}
}

func TestUsageIsNotAskedForTooOften(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Unix(2000, 0))
	asked, failing := 0, false
	a := newCPUCounters(func(context.Context) ([]PodUsage, error) {
		asked++
		if failing {
			return nil, errors.New("no")
		}
		return nil, nil
	}, clock)
	for _, step := range []struct {
		after   time.Duration
		failing bool
		want    int
	}{{0, false, 1}, {usageAge - 1, false, 1}, {1, true, 2}, {usageAge, true, 2}, {usageErrorAge, false, 3}} {
		clock.Step(step.after)
		failing = step.failing
		a.report(t.Context(), nil)
		if asked != step.want {
			t.Errorf("asked %d times, want %d", asked, step.want)
		}
	}
}

func TestStatsEndpoints(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Usage = samples(sample(2000, 250_000_000, 4096)) })
	_, text := e.ask(t, http.MethodGet, "/metrics/resource", goodToken)
	want := `# HELP container_cpu_usage_seconds_total Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="main",namespace="shop",pod="web"} 3.75 2000000
# HELP container_memory_working_set_bytes Current working set of the container in bytes
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="main",namespace="shop",pod="web"} 4096 2000000
# HELP container_start_time_seconds Start time of the container since unix epoch in seconds
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="main",namespace="shop",pod="web"} 1010
# HELP node_cpu_usage_seconds_total Cumulative cpu time consumed by the node in core-seconds
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 1e-06 2000000
# HELP node_memory_working_set_bytes Current working set of the node in bytes
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 4096 2000000
# HELP pod_cpu_usage_seconds_total Cumulative cpu time consumed by the pod in core-seconds
# TYPE pod_cpu_usage_seconds_total counter
pod_cpu_usage_seconds_total{namespace="shop",pod="web"} 3.75 2000000
# HELP pod_memory_working_set_bytes Current working set of the pod in bytes
# TYPE pod_memory_working_set_bytes gauge
pod_memory_working_set_bytes{namespace="shop",pod="web"} 4096 2000000
# HELP resource_scrape_error 1 if there was an error while getting container metrics, 0 otherwise
# TYPE resource_scrape_error gauge
resource_scrape_error 0
`
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("/metrics/resource (-want +got):\n%s", diff)
	}
	_, text = e.ask(t, http.MethodGet, "/metrics/cadvisor", goodToken)
	want = `# HELP container_cpu_usage_seconds_total Cumulative cpu time consumed in seconds.
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="",cpu="total",image="",name="",namespace="shop",pod="web"} 3.75 2000000
container_cpu_usage_seconds_total{container="main",cpu="total",image="web@sha256:0",name="c0ffee",namespace="shop",pod="web"} 3.75 2000000
# HELP container_memory_working_set_bytes Current working set in bytes.
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="",image="",name="",namespace="shop",pod="web"} 4096 2000000
container_memory_working_set_bytes{container="main",image="web@sha256:0",name="c0ffee",namespace="shop",pod="web"} 4096 2000000
# HELP container_start_time_seconds Start time of the container since unix epoch in seconds.
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="main",image="web@sha256:0",name="c0ffee",namespace="shop",pod="web"} 1010 2000000
`
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("/metrics/cadvisor (-want +got):\n%s", diff)
	}
	_, body := e.ask(t, http.MethodGet, "/stats/summary", goodToken)
	var summary stats.Summary
	if err := json.Unmarshal([]byte(body), &summary); err != nil {
		t.Fatal(err)
	}
	if summary.Node.NodeName != nodeName || len(summary.Pods) != 4 {
		t.Fatalf("got %s", body)
	}
	web := summary.Pods[3]
	if diff := cmp.Diff(stats.PodReference{Name: "web", Namespace: localNamespace, UID: "uid-web"}, web.PodRef); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(new(uint64(250_000_000)), web.Containers[0].CPU.UsageNanoCores); diff != "" {
		t.Errorf("cpu (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(new(uint64(4096)), web.Memory.WorkingSetBytes); diff != "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}
}

func TestMissingUsageSaysWhy(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.Usage = func(context.Context) ([]PodUsage, error) { return nil, errNoMetricsAPI }
	})
	res, text := e.ask(t, http.MethodGet, "/metrics/resource", goodToken)
	if res.StatusCode != 200 || !strings.HasPrefix(text, "# no usage: "+errNoMetricsAPI.Error()+"\n") ||
		!strings.Contains(text, "\nresource_scrape_error 1\n") {
		t.Errorf("got %d %s", res.StatusCode, text)
	}
	res, series := e.ask(t, http.MethodGet, "/metrics/cadvisor", goodToken)
	if want := "# no usage: " + errNoMetricsAPI.Error() + "\n"; res.StatusCode != 200 || series != want {
		t.Errorf("/metrics/cadvisor: got %d %s, want %s", res.StatusCode, series, want)
	}
	if strings.Contains(text, "node_cpu") {
		t.Error("a usage was made up")
	}
	res, body := e.ask(t, http.MethodGet, "/stats/summary", goodToken)
	if res.StatusCode != 200 || !strings.Contains(res.Header.Get("Warning"), errNoMetricsAPI.Error()) || !strings.Contains(body, `"web"`) {
		t.Errorf("got %d %v %s", res.StatusCode, res.Header, body)
	}
}

func TestRemoteUsage(t *testing.T) {
	const found = `{"kind":"PodMetricsList","items":[
		{"metadata":{"name":"web"},"timestamp":"2026-01-02T03:04:05Z","window":"15.5s",
		 "containers":[{"name":"main","usage":{"cpu":"1500n","memory":"2Mi"}}]},
		{"metadata":{"name":"stranger"},"timestamp":"2026-01-02T03:04:05Z","window":"15s","containers":[]}]}`
	cases := map[string]struct {
		reason string
		code   int
		want   []PodUsage
		err    error
	}{
		"Found": {"in local names, ours only", 200, []PodUsage{{
			Namespace:  localNamespace,
			Name:       "web",
			Timestamp:  time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
			Window:     15500 * time.Millisecond,
			Containers: []ContainerUsage{{Name: "main", CPU: 1500, Memory: 2 << 20}},
		}}, nil},
		"NoAPI":     {"no metrics-server", 404, nil, errNoMetricsAPI},
		"NotReady":  {"its service has no endpoint", 503, nil, errNoMetricsAPI},
		"Forbidden": {"akd lacks the right", 403, nil, errMetricsDenied},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var path string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				path = r.URL.Path
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(tc.code)
				fmt.Fprint(w, found)
			}))
			defer server.Close()
			usage, err := RemoteUsage(&rest.Config{
				Host: server.URL,
				ContentConfig: rest.ContentConfig{ // akd's
					AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json",
					ContentType:        "application/vnd.kubernetes.protobuf",
				},
			}, testPods())
			if err != nil {
				t.Fatal(err)
			}
			got, err := usage(t.Context())
			if !errors.Is(err, tc.err) {
				t.Errorf("%s: got error %v, want %v", tc.reason, err, tc.err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.Comparer(time.Time.Equal)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if want := "/apis/metrics.k8s.io/v1beta1/namespaces/" + remoteNamespace + "/pods"; path != want {
				t.Errorf("asked %s, want %s", path, want)
			}
		})
	}
}
