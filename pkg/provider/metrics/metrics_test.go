package metrics

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/kubeletapi"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const reference = "../../../docs/metrics.md"

// exercised gives metrics with every series of one scripted life.
func exercised(t *testing.T) *Metrics {
	t.Helper()
	clock := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	m := New(Build{Version: "v1.2.3", Revision: "abc"}, clock)
	m.CountPods(func() map[string]int { return map[string]int{"Running": 2, "Strange": 9} })
	m.CountRemotelyPending(func() int { return 4 })
	m.CountVolumes(func() map[string]int { return map[string]int{"bound": 2, "lost": 1} })
	m.CountMirrored(func() map[string]int { return map[string]int{"Secret": 3} })
	m.WatchRemote(func() time.Time { return time.Unix(1000, 250_000_000) })
	m.WatchLeader(func() bool { return true })
	m.WatchCredential(func() time.Time { return time.Unix(2000, 0) }, func() error { return nil })
	m.ObserveReconcile(ResultSuccess, 3*time.Millisecond)
	m.ObserveReconcile(ResultError, time.Second)
	m.CountTokenRenewal(ResultSuccess)
	queue := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[string]{Name: "pods", MetricsProvider: m.Queues()})
	queue.Add("a")
	queue.ShutDown()
	m.Queues().NewRetriesMetric("pods").Inc()
	send(t, m, http.MethodGet, "/api/v1/namespaces/a/pods/b", http.StatusOK, nil)
	clock.SetTime(time.Unix(1040, 0))
	return m
}

// answer is a RoundTripper that knows what to say.
type answer func(*http.Request) (*http.Response, error)

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func send(t *testing.T, m *Metrics, method, path string, status int, err error) {
	t.Helper()
	next := answer(func(*http.Request) (*http.Response, error) {
		if err != nil {
			return nil, err
		}
		return &http.Response{StatusCode: status, Body: http.NoBody}, nil
	})
	response, got := m.Transport(Remote)(next).RoundTrip(httptest.NewRequest(method, path, nil))
	if !errors.Is(got, err) {
		t.Errorf("RoundTrip: want error %v, got %v", err, got)
	}
	if response != nil {
		_ = response.Body.Close()
	}
}

func TestValues(t *testing.T) {
	want := `
# HELP akd_mirrored_objects Objects that akd maintains in the remote cluster, by kind.
# TYPE akd_mirrored_objects gauge
akd_mirrored_objects{kind="ConfigMap"} 0
akd_mirrored_objects{kind="EndpointSlice"} 0
akd_mirrored_objects{kind="Namespace"} 0
akd_mirrored_objects{kind="PersistentVolumeClaim"} 0
akd_mirrored_objects{kind="Pod"} 0
akd_mirrored_objects{kind="PodDisruptionBudget"} 0
akd_mirrored_objects{kind="Secret"} 3
akd_mirrored_objects{kind="Service"} 0
# HELP akd_pods Local pods bound to the node, by phase.
# TYPE akd_pods gauge
akd_pods{phase="Failed"} 0
akd_pods{phase="Pending"} 0
akd_pods{phase="Running"} 2
akd_pods{phase="Succeeded"} 0
akd_pods{phase="Unknown"} 0
# HELP akd_pods_remotely_pending Local pods for which the remote scheduler finds no node. They are also counted as Pending in akd_pods.
# TYPE akd_pods_remotely_pending gauge
akd_pods_remotely_pending 4
# HELP akd_reconcile_total Reconciles of pods, namespaces and other objects, by result: success, or error, which is retried.
# TYPE akd_reconcile_total counter
akd_reconcile_total{result="error"} 1
akd_reconcile_total{result="success"} 1
# HELP akd_remote_last_success_timestamp_seconds Unix time at which the remote API server last answered reads and writes, ` +
		`or 0 if it has not since akd started.
# TYPE akd_remote_last_success_timestamp_seconds gauge
akd_remote_last_success_timestamp_seconds 1000.25
# HELP akd_token_renewals_total Requests for service account tokens of pods, including the first, by result: success or error.
# TYPE akd_token_renewals_total counter
akd_token_renewals_total{result="error"} 0
akd_token_renewals_total{result="success"} 1
# HELP akd_volumes Volumes of PersistentVolumeClaims whose data is in the remote cluster, by state.
# TYPE akd_volumes gauge
akd_volumes{state="bound"} 2
akd_volumes{state="kept"} 0
akd_volumes{state="lost"} 1
akd_volumes{state="orphan"} 0
akd_volumes{state="waiting"} 0
# HELP akd_workqueue_depth Keys waiting in the queue.
# TYPE akd_workqueue_depth gauge
akd_workqueue_depth{name="pods"} 1
`
	expose(t, exercised(t), want, "akd_mirrored_objects", "akd_pods", "akd_pods_remotely_pending", "akd_reconcile_total",
		"akd_remote_last_success_timestamp_seconds", "akd_token_renewals_total", "akd_volumes", "akd_workqueue_depth")
}

// expose compares the named metrics with their text.
func expose(t *testing.T, m *Metrics, want string, names ...string) {
	t.Helper()
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, family := range families {
		if !slices.Contains(names, family.GetName()) {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&got, family); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(got.String())); diff != "" {
		t.Errorf("metrics (-want, +got):\n%s", diff)
	}
}

// The plugin takes 0 for unknown.
func TestRemoteHasNotAnswered(t *testing.T) {
	m := New(Build{}, clocktesting.NewFakePassiveClock(time.Unix(1000, 0)))
	m.WatchRemote(func() time.Time { return time.Time{} })
	want := `
# HELP akd_remote_last_success_timestamp_seconds Unix time at which the remote API server last answered reads and writes, ` +
		`or 0 if it has not since akd started.
# TYPE akd_remote_last_success_timestamp_seconds gauge
akd_remote_last_success_timestamp_seconds 0
`
	expose(t, m, want, "akd_remote_last_success_timestamp_seconds")
}

// TestLint holds the names to Prometheus' conventions.
func TestLint(t *testing.T) {
	families, err := exercised(t).Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

func TestAttributes(t *testing.T) {
	cases := map[string]struct {
		reason, request, verb, resource string
	}{
		"Get":      {"One object.", "GET /api/v1/namespaces/a/pods/b", "get", "pods"},
		"List":     {"All of a namespace.", "GET /api/v1/namespaces/a/pods", "list", "pods"},
		"ListAll":  {"All of the node, over all namespaces.", "GET /api/v1/pods?fieldSelector=spec.nodeName%3Dvk", "list", "pods"},
		"Watch":    {"A watch is no list: it lasts minutes.", "GET /api/v1/pods?watch=true&resourceVersion=1", "watch", "pods"},
		"Watch1":   {"Old clients write it so.", "GET /api/v1/pods?watch=1", "watch", "pods"},
		"NotWatch": {"watch=false is a list.", "GET /api/v1/pods?watch=false", "list", "pods"},
		"Create":   {request: "POST /api/v1/namespaces/a/pods", verb: "create", resource: "pods"},
		"Update": {
			request:  "PUT /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/vk",
			verb:     "update",
			resource: "leases",
		},
		"Status":           {"A subresource is another right.", "PATCH /api/v1/namespaces/a/pods/b/status", "patch", "pods/status"},
		"Resize":           {request: "PATCH /api/v1/namespaces/a/pods/b/resize", verb: "patch", resource: "pods/resize"},
		"Token":            {request: "POST /api/v1/namespaces/a/serviceaccounts/b/token", verb: "create", resource: "serviceaccounts/token"},
		"Delete":           {request: "DELETE /api/v1/namespaces/a/pods/b", verb: "delete", resource: "pods"},
		"DeleteCollection": {request: "DELETE /api/v1/namespaces/a/configmaps", verb: "deletecollection", resource: "configmaps"},
		"Namespace":        {"A namespace is an object itself.", "GET /api/v1/namespaces/a", "get", "namespaces"},
		"Namespaces":       {request: "GET /api/v1/namespaces", verb: "list", resource: "namespaces"},
		"NamespaceStatus":  {"And has subresources.", "PUT /api/v1/namespaces/a/finalize", "update", "namespaces/finalize"},
		"NamedStatus":      {"A pod named status is a pod.", "GET /api/v1/namespaces/status/pods/status", "get", "pods"},
		"Exec":             {"A stream.", "POST /api/v1/namespaces/a/pods/b/exec?command=sh", "connect", "pods/exec"},
		"Log":              {"A log that ends.", "GET /api/v1/namespaces/a/pods/b/log", "get", "pods/log"},
		"Follow":           {"A log that does not.", "GET /api/v1/namespaces/a/pods/b/log?follow=true", "connect", "pods/log"},
		"Usage":            {"The pods of another group.", "GET /apis/metrics.k8s.io/v1beta1/namespaces/a/pods", "list", "pods.metrics.k8s.io"},
		"Prefix":           {"An API server behind a path.", "GET /k8s/clusters/c-1/api/v1/nodes/vk", "get", "nodes"},
		"Unknown": {"Names of resources that akd never asks for do not become labels.",
			"GET /apis/example.com/v1/namespaces/a/widgets/b", "get", "other"},
		"UnknownSub": {request: "GET /api/v1/namespaces/a/pods/b/whatever", verb: "get", resource: "pods/other"},
		"Version":    {request: "GET /version", verb: "get", resource: "other"},
		"Root":       {request: "GET /", verb: "get", resource: "other"},
		"Group":      {"Discovery.", "GET /apis/apps/v1", "get", "other"},
		"Method":     {request: "BREW /api/v1/pods", verb: "other", resource: "pods"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			method, path, _ := strings.Cut(tc.request, " ")
			verb, resource := attributes(httptest.NewRequest(method, path, nil))
			if diff := cmp.Diff([]string{tc.verb, tc.resource}, []string{verb, resource}); diff != "" {
				t.Errorf("%s\nattributes (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add("GET", "/api/v1/namespaces/a/pods/b/log", "follow=true")
	f.Add("", "//api//v1///", "watch=;;")
	f.Add("PUT", "/apis/a/v1/namespaces//pods", "")
	f.Fuzz(func(t *testing.T, method, path, query string) {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.Method, request.URL.Path, request.URL.RawQuery = method, path, query
		verb, resource := attributes(request)
		known := append(resources(), "other")
		name, sub, _ := strings.Cut(resource, "/")
		if !slices.Contains(known, name) || sub != "" && !slices.Contains(append(subresources(), "other"), sub) {
			t.Errorf("resource %q is not one of few", resource)
		}
		verbs := []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "connect", "other"}
		if !slices.Contains(verbs, verb) {
			t.Errorf("verb %q is not one of few", verb)
		}
	})
}

func TestTransport(t *testing.T) {
	m := New(Build{}, clocktesting.NewFakePassiveClock(time.Unix(0, 0)))
	send(t, m, "GET", "/api/v1/pods?watch=1", 200, nil)
	send(t, m, "GET", "/api/v1/pods", 200, nil)
	send(t, m, "GET", "/api/v1/pods", 999, nil)
	send(t, m, "PATCH", "/api/v1/namespaces/a/pods/b/status", 409, nil)
	send(t, m, "GET", "/api/v1/pods", 0, fmt.Errorf("dial: %w", context.Canceled))
	send(t, m, "GET", "/api/v1/pods", 0, errors.New("connection refused"))
	want := `
# HELP akd_requests_total Requests to the API servers, by cluster (local or remote), verb, resource with subresource, and HTTP ` +
		`status code. The code is error if there was no response, and canceled if akd did not wait for one.
# TYPE akd_requests_total counter
akd_requests_total{cluster="remote",code="200",resource="pods",verb="list"} 1
akd_requests_total{cluster="remote",code="200",resource="pods",verb="watch"} 1
akd_requests_total{cluster="remote",code="409",resource="pods/status",verb="patch"} 1
akd_requests_total{cluster="remote",code="canceled",resource="pods",verb="list"} 1
akd_requests_total{cluster="remote",code="error",resource="pods",verb="list"} 1
akd_requests_total{cluster="remote",code="other",resource="pods",verb="list"} 1
`
	expose(t, m, want, "akd_requests_total")
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if n := len(family.GetMetric()); family.GetName() == "akd_request_duration_seconds" && n != 2 {
			t.Errorf("durations: want series for list and patch only, got %d", n)
		}
	}
}

// TestReference keeps docs/metrics.md equal to the registry.
func TestReference(t *testing.T) {
	m := exercised(t)
	api, err := kubeletapi.NewInstruments(m.Registerer(), func() int { return 0 }, func() (state kubeletapi.CertificateState) { return state })
	if err != nil {
		t.Fatal(err)
	}
	api.Answered("/pods", http.StatusOK)
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(introduction)
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), prefix+"_") {
			continue
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n",
			family.GetName(), strings.ToLower(family.GetType().String()), labels(family), family.GetHelp())
	}
	b.WriteString(probes)
	if *update {
		if err := os.WriteFile(reference, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(have)); diff != "" {
		t.Errorf("docs/metrics.md is stale; run go generate ./pkg/provider/metrics (-want, +have):\n%s", diff)
	}
}

func labels(family *dto.MetricFamily) string {
	var names []string
	for _, label := range family.GetMetric()[0].GetLabel() {
		names = append(names, "`"+label.GetName()+"`")
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

const introduction = `<!-- Generated by go generate ./pkg/provider/metrics from the registry. Do not edit. -->

# Metrics and probes of akd

akd serves metrics and probes over plain HTTP, without authentication, at ` + "`metrics.address`" + ` of its
[configuration](configuration.md). It also serves metrics over HTTPS at ` + "`/metrics`" + ` of its kubelet API, to users who may
` + "`get nodes/metrics`" + `. No label holds the name of a pod or a namespace, so the number of series does not grow with use.

## Metrics

` + "`/metrics`" + ` uses the text format of Prometheus. Besides the metrics below, it contains those of Go, ` + "`go_*`" + `, and of the
process, ` + "`process_*`" + `.

`

const probes = `
What to watch:

    time() - akd_remote_last_success_timestamp_seconds > 40     # the remote API server does not answer; the node is not ready
    rate(akd_reconcile_total{result="error"}[5m]) > 1           # the log has the reason and the pod
    min_over_time(akd_pods_remotely_pending[10m]) > 0           # the remote cluster has no room: kubectl actual check names the pods
    akd_volumes{state="lost"} > 0                               # remote claims with data are gone: kubectl actual volumes lists them
    increase(akd_token_renewals_total{result="error"}[10m]) > 0 # pods will lose access to the local API server
    histogram_quantile(0.99, rate(akd_workqueue_queue_duration_seconds_bucket[5m])) > 5 # a larger sync.concurrentSyncs may help
    akd_workqueue_unfinished_work_seconds > 60                  # a worker is stuck

## Probes

| path | 200 if | otherwise |
|---|---|---|
| ` + "`/healthz`" + ` | akd works; use it as the liveness probe | 503: a restart may help |
| ` + "`/readyz`" + ` | akd can do its work; use it as the readiness probe | 503 |

A response has one line per check, ` + "`[+]remote ok` or `[-]remote failed`" + `. akd logs the reason once per change.

## Profiles

With ` + "`profiling: true`" + `, akd serves the profiles of Go at ` + "`/debug/pprof/`" + `:
` + "`go tool pprof http://HOST:10254/debug/pprof/profile`" + `.
`
