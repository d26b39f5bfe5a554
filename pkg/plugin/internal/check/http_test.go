package check

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
)

// answering returns a subject whose local API server has those answers, by path:
// texts, or errors. Everything else is not found.
func answering(t *testing.T, answers map[string]any) *Subject {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", now().Add(time.Minute).Format(http.TimeFormat))
		answer := answers[r.URL.Path]
		if text, is := answer.(string); is {
			_, _ = w.Write([]byte(text))
			return
		}
		refusal, is := answer.(*apierrors.StatusError)
		if !is {
			refusal = apierrors.NewNotFound(schema.GroupResource{}, r.URL.Path)
		}
		status := refusal.Status()
		status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(status.Code))
		if err := json.NewEncoder(w).Encode(status); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	s := subject(nil, nil)
	s.Local.Client, s.Local.Config = client, config
	s.Node.Object.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.5"}}
	s.Node.Object.Status.DaemonEndpoints.KubeletEndpoint.Port = 10250
	return s
}

func TestKubeletAPI(t *testing.T) {
	t.Parallel()
	const logs = "kubectl actual logs vk"
	cases := map[string]struct {
		reason     string
		answer     any
		level      Level
		found, fix string
	}{
		"akd":       {reason: "as it should be", answer: "ok", level: LevelOK, found: "at 192.0.2.5:10250"},
		"Forbidden": {reason: "the user may not", answer: apierrors.NewForbidden(corev1.Resource("nodes"), "vk", nil), level: LevelSkipped},
		"Another": {
			reason: "something else has the address",
			answer: "<html>",
			level:  LevelFailed,
			found:  `192.0.2.5:10250 answers "<html>"`,
			fix:    logs,
		},
		"Unreachable": {
			reason: "a firewall",
			answer: apierrors.NewInternalError(errors.New("dial tcp 192.0.2.5:10250: i/o timeout")),
			level:  LevelFailed,
			found:  "i/o timeout: kubectl logs, exec, attach and port-forward fail",
			fix:    "allow connections from the local API server to 192.0.2.5:10250; akd's log: " + logs,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := answering(t, map[string]any{"/api/v1/nodes/vk/proxy/healthz": tc.answer})
			expect(t, tc.reason, kubeletAPI(t.Context(), s), tc.level, tc.found, tc.fix)
		})
	}
}

func TestMetricsAPI(t *testing.T) {
	t.Parallel()
	const group, node = "/apis/metrics.k8s.io/v1beta1", "/apis/metrics.k8s.io/v1beta1/nodes/vk"
	cases := map[string]struct {
		reason     string
		answers    map[string]any
		level      Level
		found, fix string
	}{
		"Shown": {
			reason:  "as it should be",
			answers: map[string]any{group: "{}", node: `{"usage": {"cpu": "5m", "memory": "9Mi"}}`},
			level:   LevelOK,
			found:   "cpu 5m, memory 9Mi",
		},
		"None": {reason: "nothing to fix", level: LevelSkipped, found: "no metrics API"},
		"Down": {
			reason:  "its pod does not run",
			answers: map[string]any{group: apierrors.NewInternalError(errors.New("no endpoints"))},
			level:   LevelWarning,
			found:   "does not answer",
			fix:     "kubectl get apiservice v1beta1.metrics.k8s.io",
		},
		"Unknown": {
			reason:  "akd may not read the remote metrics API",
			answers: map[string]any{group: "{}"},
			level:   LevelWarning,
			found:   "does not know the node's usage",
			fix:     "if the remote cluster has a metrics API: kubectl actual install vk --read-metrics --remote-context=there",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(t, tc.reason, metricsAPI(t.Context(), answering(t, tc.answers)), tc.level, tc.found, tc.fix)
		})
	}
}

// The clock of a cluster is what the Date header of its API server says.
func TestClockOffset(t *testing.T) {
	t.Parallel()
	s := answering(t, nil)
	got, err := clockOffset(t.Context(), s.Local, clocktesting.NewFakePassiveClock(now()))
	if want := time.Minute + time.Second/2; got != want || err != nil {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
