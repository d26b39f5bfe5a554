package kubeletapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	client "k8s.io/client-go/tools/remotecommand"
	server "k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

func TestPlainEndpoints(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "akd_test", Help: "A test."}, func() float64 { return 7 }))
	healthy := true
	e := newEnv(t, func(c *Config) {
		c.Gatherer, c.Registerer = registry, registry
		c.Configz = map[string]string{"node": nodeName}
		c.Health = func(context.Context) error {
			if healthy {
				return nil
			}
			return errors.New("https://192.0.2.1 is down")
		}
	})
	names := func(body string) (names []string) {
		var list corev1.PodList
		if err := json.Unmarshal([]byte(body), &list); err != nil || list.Kind != "PodList" || list.APIVersion != "v1" {
			t.Errorf("no PodList: %s", body)
		}
		for _, pod := range list.Items {
			names = append(names, pod.Name)
		}
		return names
	}
	if _, body := e.ask(t, http.MethodGet, "/pods", goodToken); !cmp.Equal([]string{"web", "pending", "gone", "refused"}, names(body)) {
		t.Errorf("/pods: %s", body)
	}
	if _, body := e.ask(t, http.MethodGet, "/runningpods/", goodToken); !cmp.Equal([]string{"web"}, names(body)) {
		t.Errorf("/runningpods/: %s", body)
	}
	if _, body := e.ask(t, http.MethodGet, "/configz", goodToken); body != `{"akd":{"node":"vk"}}`+"\n" {
		t.Errorf("/configz: %s", body)
	}
	_, body := e.ask(t, http.MethodGet, "/metrics", goodToken)
	for _, want := range []string{
		"akd_test 7", "akd_kubelet_api_streams 0", "akd_kubelet_api_serving_certificate_self_signed 0",
		`akd_kubelet_api_requests_total{code="200",route="pods"} 1`,
		`akd_kubelet_api_requests_total{code="401",route="none"} 1`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics lacks %s:\n%s", want, body)
		}
	}
	if res, body := e.ask(t, http.MethodGet, "/healthz", goodToken); res.StatusCode != 200 || body != "ok" {
		t.Errorf("/healthz: %d %s", res.StatusCode, body)
	}
	healthy = false
	if res, body := e.ask(t, http.MethodGet, "/healthz", goodToken); res.StatusCode != 500 || strings.Contains(body, "192.0.2.1") {
		t.Errorf("/healthz when unhealthy: %d %s", res.StatusCode, body)
	}
	if res, _ := e.ask(t, http.MethodGet, "/healthz/ping", goodToken); res.StatusCode != 200 {
		t.Errorf("/healthz/ping when unhealthy: %d", res.StatusCode)
	}
	if res, _ := e.ask(t, http.MethodDelete, "/pods", goodToken); res.StatusCode != 405 || res.Header.Get("Allow") != "GET" {
		t.Errorf("DELETE /pods: %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
	_, body = e.ask(t, http.MethodGet, "/metrics/slis", goodToken)
	for _, want := range []string{
		`kubernetes_healthcheck{name="ping",type="healthz"} 1`, `kubernetes_healthcheck{name="syncloop",type="healthz"} 0`,
		`kubernetes_healthchecks_total{name="syncloop",status="success",type="healthz"} 1`,
		`kubernetes_healthchecks_total{name="syncloop",status="error",type="healthz"} 1`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics/slis lacks %s:\n%s", want, body)
		}
	}
	res, body := e.ask(t, http.MethodGet, "/metrics/probes", goodToken)
	if res.StatusCode != 200 || !strings.HasPrefix(body, "# the kubelets of the remote cluster") {
		t.Errorf("/metrics/probes: %d %s", res.StatusCode, body)
	}
	for path, code := range map[string]int{"/metrics/machine": 404, "/logs/syslog": 404, "/debug/pprof/": 404, "/checkpoint/a/b/c": 501} {
		if res, body := e.ask(t, http.MethodGet, path, goodToken); res.StatusCode != code || !strings.Contains(body, `"kind":"Status"`) {
			t.Errorf("%s: %d %s, want %d and a Status", path, res.StatusCode, body, code)
		}
	}
}

func (e *env) dial() (net.Conn, error) {
	pool := x509.NewCertPool()
	pool.AddCert(e.serving.cert)
	return tls.Dial("tcp", e.addr, &tls.Config{RootCAs: pool})
}

func (e *env) rawConn(t *testing.T) net.Conn {
	t.Helper()
	conn, err := e.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestSlowPeersAreDropped(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.HeaderTime = 50 * time.Millisecond })
	// Neither a handshake nor a header that never ends keeps a connection:
	// reading ends because the server closes.
	silent, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_, _ = io.Copy(io.Discard, silent)
	slow, err := e.dial()
	for err != nil { // a busy machine may take longer for a handshake than the server waits
		slow, err = e.dial()
	}
	defer slow.Close()
	fmt.Fprint(slow, "GET /pods HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	_, _ = io.Copy(io.Discard, slow)
}

func TestHeaderLimit(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.HeaderBytes = 1 << 10 })
	conn := e.rawConn(t)
	go fmt.Fprintf(conn, "GET /pods HTTP/1.1\r\nHost: x\r\nX-Big: %s\r\n\r\n", strings.Repeat("x", 16<<10))
	answer := make([]byte, len("HTTP/1.1 431"))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 431" {
		t.Errorf("got %q, error %v", answer, err)
	}
}

// Go's server has an answer of its own to this one.
func TestOptionsAreNotAnonymous(t *testing.T) {
	e := newEnv(t)
	conn := e.rawConn(t)
	fmt.Fprint(conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
	answer := make([]byte, len("HTTP/1.1 401"))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 401" {
		t.Errorf("got %q, error %v", answer, err)
	}
}

func TestRefusedPeersKeepNoConnection(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.Connections = 2 })
	for range 10 { // more than there are connections: each must be given back
		if res, _ := e.ask(t, http.MethodGet, "/pods", ""); res.StatusCode != 401 || !res.Close {
			t.Errorf("got %d, close %t", res.StatusCode, res.Close)
		}
	}
}

func TestShutdownEndsStreams(t *testing.T) {
	e := newEnv(t)
	e.remote.command = func(_ context.Context, in io.Reader, out, _ io.WriteCloser, _ []string, _ <-chan server.TerminalSize) error {
		fmt.Fprint(out, "ready")
		_, err := io.Copy(io.Discard, in)
		return err
	}
	stdin, typing := io.Pipe()
	defer typing.Close()
	ready, ended := make(chan struct{}, 1), make(chan struct{})
	executor := executors(t, e, "/exec/shop/web/main?command=cat&input=1&output=1")["SPDY"]
	go func() {
		defer close(ended)
		_ = executor.StreamWithContext(t.Context(), client.StreamOptions{Stdin: stdin, Stdout: writerFunc(func() { ready <- struct{}{} })})
	}()
	<-ready
	e.stop() // returns when Run has
	if got := e.streams.open(); got != 0 {
		t.Errorf("Run returned with %d streams open", got)
	}
	<-ended
}

func TestPortInUse(t *testing.T) {
	e := newEnv(t)
	cfg := e.cfg
	cfg.Listener, cfg.Address = nil, e.addr
	second, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another kubelet") {
		t.Errorf("got %v", err)
	}
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// FuzzPaths holds that, whatever is asked, nothing but the four subresources
// of the one remote pod is ever asked of the remote, with known options only,
// and that nobody without rights makes akd ask at all.
func FuzzPaths(f *testing.F) {
	for path := range everyPath {
		method, path, _ := strings.Cut(path, " ")
		f.Add(method, path, "command=a&output=1&input=true&port=1,2&tailLines=0", true)
	}
	f.Add("GET", "//exec/shop/web/../../main", "stdin=1&container=other", true)
	f.Add("GET", "/containerLogs/shop/web/a%2f..%3Fb", "follow=true&insecureSkipTLSVerifyBackend=true", true)
	clients := newAuthority(f)
	log := slog.New(slog.DiscardHandler)
	auth, err := NewAuth(AuthConfig{NodeName: nodeName, Reviews: reviewer(goodOnly), ClientCAPEM: clients.pem(), Logger: log})
	if err != nil {
		f.Fatal(err)
	}
	certificates, err := NewCertificates(CertificateConfig{Mode: CertificateSelfSigned, NodeName: nodeName, Logger: log})
	if err != nil {
		f.Fatal(err)
	}
	s, err := New(Config{
		NodeName:     nodeName,
		Address:      "127.0.0.1:0",
		Pods:         testPods(),
		Remote:       newRemote(f).config(),
		Auth:         auth,
		Certificates: certificates,
		Logger:       log,
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path, query string, good bool) {
		r, err := http.NewRequest(method, "https://node"+path+"?"+query, http.NoBody)
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		r.Header.Set("Authorization", "Bearer "+weakToken)
		if good {
			r.Header.Set("Authorization", "Bearer "+goodToken)
		}
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "SPDY/3.1")
		if strings.HasPrefix(path, "/run/") {
			return // dials by itself
		}
		var asked *http.Request
		s.remotes.transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
			asked = r
			return &http.Response{StatusCode: 200, Body: io.NopCloser(&bytes.Buffer{}), Header: http.Header{}}, nil
		})
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if w.Code < 200 || w.Code > 599 {
			t.Errorf("%s %s: code %d", method, path, w.Code)
		}
		if asked == nil {
			return
		}
		subresource, ok := strings.CutPrefix(asked.URL.EscapedPath(), "/k8s/api/v1/namespaces/"+remoteNamespace+"/pods/web/")
		if !good || !ok || !slices.Contains([]string{"exec", "attach", "portforward", "log"}, subresource) {
			t.Errorf("%s %s, rights %t: asked %s", method, path, good, asked.URL)
		}
		known := append([]string{"container", "command", "stdin", "stdout", "stderr", "tty", "ports"}, logOptions[:]...)
		for name := range asked.URL.Query() {
			if !slices.Contains(known, name) {
				t.Errorf("%s %s?%s: option %q reached the remote", method, path, query, name)
			}
		}
	})
}
