package metrics

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestServer(t *testing.T) {
	ok := Check{Name: "caches", Check: func(context.Context) error { return nil }}
	bad := Check{Name: "remote", Check: func(context.Context) error { return errors.New("dial tcp 192.0.2.1:6443: refused") }}
	cases := map[string]struct {
		reason    string
		method    string
		path      string
		profiling bool
		status    int
		body      string // "" is not compared
	}{
		"Healthy": {
			reason: "All checks hold.",
			method: "GET",
			path:   "/healthz",
			status: 200,
			body:   "[+]caches ok\nhealthz check passed\n",
		},
		"NotReady": {
			reason: "The one that fails is named; the address of the remote is not told.",
			method: "GET",
			path:   "/readyz",
			status: 503,
			body:   "[+]caches ok\n[-]remote failed: see the log of akd\nreadyz check failed\n",
		},
		"Head":        {reason: "Some probes send HEAD.", method: "HEAD", path: "/healthz", status: 200},
		"Metrics":     {method: "GET", path: "/metrics", status: 200},
		"Post":        {reason: "Nothing is changed here.", method: "POST", path: "/metrics", status: 405},
		"NoProfiling": {reason: "Profiles tell too much to serve them unasked.", method: "GET", path: "/debug/pprof/", status: 404},
		"Profiling": {
			reason:    "Unless asked.",
			method:    "GET",
			path:      "/debug/pprof/goroutine?debug=1",
			profiling: true,
			status:    200,
		},
		"Unknown": {method: "GET", path: "/", status: 404},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server, err := NewServer(ServerConfig{
				Address:   ":0",
				Gatherer:  prometheus.NewRegistry(),
				Live:      []Check{ok},
				Ready:     []Check{ok, bad},
				Profiling: tc.profiling,
				Logger:    slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			answer := httptest.NewRecorder()
			server.Handler().ServeHTTP(answer, httptest.NewRequest(tc.method, tc.path, nil))
			if answer.Code != tc.status {
				t.Errorf("%s\nstatus: want %d, got %d", tc.reason, tc.status, answer.Code)
			}
			if diff := cmp.Diff(tc.body, answer.Body.String()); tc.body != "" && diff != "" {
				t.Errorf("%s\nbody (-want, +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestProbeLogsChanges: a probe comes every few seconds, its log line must not.
func TestProbeLogsChanges(t *testing.T) {
	var log bytes.Buffer
	var state error
	p := newProbe("readyz", []Check{{Name: "remote", Check: func(context.Context) error { return state }}},
		slog.New(slog.NewTextHandler(&log, nil)))
	for _, state = range []error{nil, errors.New("gone"), errors.New("gone"), nil, nil} {
		p.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/readyz", nil))
	}
	if n := strings.Count(log.String(), "probe failed"); n != 1 || !strings.Contains(log.String(), "error=gone") {
		t.Errorf("want one line with the reason, got %d:\n%s", n, log.String())
	}
	if n := strings.Count(log.String(), "probe recovered"); n != 1 {
		t.Errorf("want one line for the recovery, got %d:\n%s", n, log.String())
	}
}

func TestRun(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := exercised(t)
	server, err := NewServer(ServerConfig{Listener: listener, Gatherer: m.Gatherer(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	client := &http.Client{Timeout: 10 * time.Second}
	response, err := client.Get("http://" + listener.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || !strings.Contains(string(body), `akd_build_info{`) || !strings.Contains(string(body), "go_goroutines") {
		t.Errorf("metrics: %v\n%s", err, body)
	}
	client.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, err := net.DialTimeout("tcp", listener.Addr().String(), time.Second); err == nil {
		t.Error("the port is still open after Run")
	}
}

func TestRunOccupiedPort(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	server, err := NewServer(ServerConfig{
		Address:  listener.Addr().String(),
		Gatherer: prometheus.NewRegistry(),
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "choose another metrics.address") {
		t.Errorf("Run: want an error that says what to do, got %v", err)
	}
}
