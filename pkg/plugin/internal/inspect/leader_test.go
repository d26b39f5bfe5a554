package inspect

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

func TestRemoteSilence(t *testing.T) {
	t.Parallel()
	const date = "Wed, 02 Jan 2030 03:04:05 GMT" // 1893553445
	cases := map[string]struct {
		reason  string
		pod     string
		status  int
		date    string
		metrics string
		want    time.Duration
		known   bool
	}{
		"Answered": {
			reason: "by akd's clock, not this machine's",
			pod:    "vk-7f",
			status: http.StatusOK,
			date:   date,
			metrics: "# HELP akd_remote_last_success_timestamp_seconds When.\nakd_pods 3\n" +
				"akd_remote_last_success_timestamp_seconds 1.893553442e+09\n",
			want:  3 * time.Second,
			known: true,
		},
		"Ahead": {
			reason:  "the date has no fractions",
			pod:     "vk-7f",
			status:  http.StatusOK,
			date:    date,
			metrics: "akd_remote_last_success_timestamp_seconds 1.8935534469e+09\n",
			known:   true,
		},
		"Never": {
			reason:  "akd has just started",
			pod:     "vk-7f",
			status:  http.StatusOK,
			date:    date,
			metrics: "akd_remote_last_success_timestamp_seconds 0\n",
		},
		"Missing": {
			reason:  "another program",
			pod:     "vk-7f",
			status:  http.StatusOK,
			date:    date,
			metrics: "up 1\n",
		},
		"Forbidden": {reason: "the user may not", pod: "vk-7f", status: http.StatusForbidden, date: date},
		"No date": {
			reason:  "nothing to compare with",
			pod:     "vk-7f",
			status:  http.StatusOK,
			date:    "now",
			metrics: "akd_remote_last_success_timestamp_seconds 1\n",
		},
		"No leader": {reason: "nobody to ask", status: http.StatusOK, date: date, metrics: "akd_remote_last_success_timestamp_seconds 1\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/api/v1/namespaces/actual-system/pods/http:vk-7f:10254/proxy/metrics" {
					t.Errorf("request for %s", r.URL.Path)
				}
				w.Header().Set("Date", tc.date)
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.metrics))
			}))
			t.Cleanup(server.Close)
			config := &rest.Config{Host: server.URL}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			host := &kubeclient.Cluster{Side: kubeclient.Local, Config: config, Client: client}
			if got, known := RemoteSilence(t.Context(), host, tc.pod); got != tc.want || known != tc.known {
				t.Errorf("%s: got %s, %t", tc.reason, got, known)
			}
		})
	}
}
