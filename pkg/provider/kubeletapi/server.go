package kubeletapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// Pods returns the pods of the node, from caches. The server does not modify them.
type Pods interface {
	// Pod returns a local pod that is bound to the node.
	Pod(namespace, name string) (*corev1.Pod, bool)
	// List returns all local pods that are bound to the node.
	List() []*corev1.Pod
	// Remote returns the remote pod, if akd has created it: a remote pod of the same
	// name that was created for another UID does not count.
	Remote(local *corev1.Pod) (namespace, name string, ok bool)
}

// Limits protect akd from slow, dead and greedy peers. A zero field means its
// default.
type Limits struct {
	// Connections is the maximum number of concurrent connections, 4096 by default.
	// Further ones wait. At most half of them are unauthenticated.
	Connections int
	// Streams is the maximum number of concurrent logs, exec, attach and
	// port-forward, 1024 by default. Further ones get 429. One user can have at most
	// three quarters of them, one namespace half, and one pod a quarter.
	Streams int
	// HeaderBytes limits the headers of a request, 64 KiB by default.
	HeaderBytes int
	// HeaderTime limits the TLS handshake, and again the headers, 10 s by default.
	HeaderTime time.Duration
	// IdleTime limits the time between two requests, 90 s by default, as in clients
	// in Go. Streams have no idle limit: the remote kubelet ends them after 4 h.
	IdleTime time.Duration
	// ShutdownTime is how long open requests may take to end, 5 s by default.
	ShutdownTime time.Duration
}

func (l Limits) withDefaults() Limits {
	l.Connections = cmp.Or(l.Connections, 4096)
	l.Streams = cmp.Or(l.Streams, 1024)
	l.HeaderBytes = cmp.Or(l.HeaderBytes, 64<<10)
	l.HeaderTime = cmp.Or(l.HeaderTime, 10*time.Second)
	l.IdleTime = cmp.Or(l.IdleTime, 90*time.Second)
	l.ShutdownTime = cmp.Or(l.ShutdownTime, 5*time.Second)
	return l
}

// Config configures a Server. NodeName, Pods, Remote, Auth, Certificates, Logger, and
// one of Listener and Address are required.
type Config struct {
	NodeName string
	// Address is where to listen, usually ":10250". Listener, if set, is used instead;
	// Run closes it.
	Address  string
	Listener net.Listener

	Pods Pods
	// Remote connects to the remote API server with the credentials of akd, which may
	// rotate (a token file, a wrapped transport).
	Remote *rest.Config
	// Auth authenticates and authorizes callers. Run runs it.
	Auth *Auth
	// Certificates are served. Run runs them.
	Certificates *Certificates

	// Usage returns the usage of the remote pods. If it is nil, the stats endpoints
	// report that usage is not configured.
	Usage Usage
	// Gatherer is served at /metrics.
	Gatherer prometheus.Gatherer
	// Registerer registers the metrics of the server, akd_kubelet_api_*. It may be nil.
	Registerer prometheus.Registerer
	// Configz is served at /configz as JSON, under the key akd. It must not contain
	// secrets.
	Configz any
	// Health is the check of /healthz. If it is nil, akd is healthy.
	Health func(context.Context) error
	// AnonymousHealth serves the health checks without authentication, for probes that
	// cannot authenticate.
	AnonymousHealth bool

	Limits Limits
	// StartTime is reported as that of the node. A nil Clock is the real one.
	StartTime time.Time
	Clock     clock.PassiveClock
	Logger    *slog.Logger
}

// Server serves the kubelet API. Make it with New.
type Server struct {
	cfg         Config
	log         *slog.Logger
	remotes     *remotes
	usage       *cpuCounters
	checks      healthChecks
	streams     *streamLimiter
	buffers     buffers
	handler     http.Handler
	instruments *Instruments
	open        inFlight
}

// New returns a Server. It opens nothing until Run.
func New(cfg Config) (*Server, error) {
	if cfg.NodeName == "" || cfg.Pods == nil || cfg.Remote == nil || cfg.Auth == nil || cfg.Certificates == nil || cfg.Logger == nil {
		return nil, errors.New("kubelet API needs NodeName, Pods, Remote, Auth, Certificates and Logger")
	}
	if cfg.Listener == nil && cfg.Address == "" {
		return nil, errors.New("kubelet API needs an address, such as :10250")
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	if cfg.StartTime.IsZero() {
		cfg.StartTime = cfg.Clock.Now()
	}
	cfg.Limits = cfg.Limits.withDefaults()
	remotes, err := newRemotes(cfg.Remote)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:     cfg,
		log:     cfg.Logger,
		remotes: remotes,
		usage:   newCPUCounters(cfg.Usage, cfg.Clock),
		checks:  newHealthChecks(),
		streams: newStreamLimiter(cfg.Limits.Streams),
	}
	if s.instruments, err = NewInstruments(cfg.Registerer, s.streams.open, cfg.Certificates.State); err != nil {
		return nil, err
	}
	s.handler = s.routes()
	return s, nil
}

// Run serves until ctx ends. It then lets open requests finish within
// Limits.ShutdownTime, aborts the others, and returns when all have ended. The error
// says why it could not listen or serve.
func (s *Server) Run(ctx context.Context) error {
	listener, err := s.listen(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Requests may outlive ctx by Limits.ShutdownTime.
	requests, endRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer endRequests()

	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel()
	helpers.Go(func() { s.cfg.Auth.Run(ctx) })
	helpers.Go(func() { s.cfg.Certificates.Run(ctx) })

	server := s.httpServer(requests)
	failed := make(chan error, 1)
	helpers.Go(func() { failed <- server.ServeTLS(listener, "", "") })
	select {
	case err := <-failed:
		endRequests()
		_ = server.Close()
		<-s.open.drain()
		return fmt.Errorf("serve kubelet API: %w", err)
	case <-ctx.Done():
	}
	s.shutdown(ctx, server, endRequests)
	return nil
}

func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	listener := s.cfg.Listener
	if listener == nil {
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Address); err != nil {
			return nil, fmt.Errorf("listen for the kubelet API (does another kubelet use the port? choose another address): %w", err)
		}
	}
	return newConnLimiter(netutil.LimitListener(listener, s.cfg.Limits.Connections), s.cfg.Limits.Connections/2), nil
}

func (s *Server) httpServer(requests context.Context) *http.Server {
	server := &http.Server{
		Handler:           s.handler,
		TLSConfig:         s.tlsConfig(),
		MaxHeaderBytes:    s.cfg.Limits.HeaderBytes,
		ReadHeaderTimeout: s.cfg.Limits.HeaderTime,
		IdleTimeout:       s.cfg.Limits.IdleTime,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ConnContext:       withConn,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		Protocols:         new(http.Protocols),
		// Go would answer "OPTIONS *" without authentication.
		DisableGeneralOptionsHandler: true,
	}
	// One stream per connection: a client that stalls does not affect others, and the
	// limit on connections is effective.
	server.Protocols.SetHTTP1(true)
	return server
}

func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// For TLS 1.2. Those of 1.3 are all secure, and not configurable.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		// Optional: a caller may use a token instead. Auth verifies it.
		ClientAuth:     tls.RequestClientCert,
		GetCertificate: s.cfg.Certificates.get,
		NextProtos:     []string{"http/1.1"},
	}
}

func (s *Server) shutdown(ctx context.Context, server *http.Server, endRequests context.CancelFunc) {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Limits.ShutdownTime)
	defer cancel()
	_ = server.Shutdown(grace) // does not wait for upgraded connections
	done := s.open.drain()
	select {
	case <-done:
	case <-grace.Done():
	}
	endRequests()
	_ = server.Close()
	<-done
}

// routes registers every path with the rights that it requires. Rights depend on the
// matched route, never on the text of the path, so that no spelling of a path
// bypasses its rights.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	serve := func(needs access, handler http.HandlerFunc, patterns ...string) {
		for _, pattern := range patterns {
			mux.HandleFunc(pattern, s.authorized(needs, handler))
		}
	}
	add := func(methods string, subresources []string, handler http.HandlerFunc, patterns ...string) {
		serve(access{methods: methods, subresources: subresources}, handler, patterns...)
	}
	proxy := []string{"proxy"}
	// kubelet's fine-grained subresources, with fallback to proxy: KEP-2862.
	pods, healthz, configz := []string{"pods", "proxy"}, []string{"healthz", "proxy"}, []string{"configz", "proxy"}
	stats, metrics := []string{"stats"}, []string{"metrics"}
	// A WebSocket begins with a GET. API servers ask for create all the same since
	// Kubernetes 1.35 (KEP-4006); kubelets do not, so that a right to read which
	// monitoring often has, get on nodes/proxy, runs commands in every container.
	// https://github.com/kubernetes/kubernetes/pull/136550
	opens := access{methods: "GET POST", verb: "create", subresources: proxy}

	serve(opens, s.streamHandler("exec", execQuery, true),
		"/exec/{namespace}/{pod}/{container}", "/exec/{namespace}/{pod}/{uid}/{container}")
	serve(opens, s.streamHandler("attach", attachQuery, true),
		"/attach/{namespace}/{pod}/{container}", "/attach/{namespace}/{pod}/{uid}/{container}")
	serve(opens, s.streamHandler("portforward", portForwardQuery, true),
		"/portForward/{namespace}/{pod}", "/portForward/{namespace}/{pod}/{uid}")
	serve(access{methods: "POST", verb: "create", subresources: proxy}, s.run,
		"/run/{namespace}/{pod}/{container}", "/run/{namespace}/{pod}/{uid}/{container}")
	add("GET", proxy, s.streamHandler("log", logQuery, false), "/containerLogs/{namespace}/{pod}/{container}")

	add("GET", pods, s.pods, "/pods", "/pods/{$}")
	add("GET", pods, s.runningPods, "/runningpods", "/runningpods/{$}")
	add("GET", configz, s.configz, "/configz")
	add("GET HEAD", healthz, s.healthz, healthPaths[:]...)
	add("GET", metrics, s.metrics, "/metrics", "/metrics/{$}")
	add("GET", metrics, s.resourceMetrics, "/metrics/resource")
	add("GET POST", stats, s.summary, "/stats/summary")

	add("GET", metrics, s.containerMetrics, "/metrics/cadvisor")
	add("GET", metrics, s.probeMetrics, "/metrics/probes")
	add("GET", metrics, s.checkMetrics, "/metrics/slis")

	add("", metrics, absent("see /metrics, /metrics/resource and /metrics/cadvisor; "+
		"metrics of the machines are those of the kubelets of the remote cluster: scrape them there"), "/metrics/")
	add("", stats, absent("only /stats/summary is served"), "/stats/")
	add("", []string{"log"}, absent("this node has no machine, and no system logs"), "/logs/")
	add("", []string{"checkpoint"}, notImplemented("the kubelets of the remote cluster checkpoint containers"), "/checkpoint/")
	add("", pods, absent("the kubelets of the remote cluster allocate resources to pods; see /pods"), "/allocatedPods", "/allocatedPods/")
	add("", []string{"statusz"}, absent("statusz is not served; see /metrics and /healthz"), "/statusz")
	add("", []string{"configz"}, absent("flagz is not served; see /configz"), "/flagz")
	add("", healthz, absent("no such health check; see /healthz"), "/healthz/")
	add("", proxy, absent("the kubelet API of this node does not have this path"), "/")
	return s.authenticated(mux)
}

func absent(reason string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		writeError(w, r, newStatus(http.StatusNotFound, metav1.StatusReasonNotFound, "%s: %s", r.URL.Path, reason))
	}
}

func notImplemented(reason string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		writeError(w, r, newStatus(http.StatusNotImplemented, metav1.StatusReasonMethodNotAllowed, "not implemented: %s", reason))
	}
}

// methodNotAllowed responds with the methods of a path.
func methodNotAllowed(w http.ResponseWriter, r *http.Request, methods []string) {
	for _, method := range methods {
		w.Header().Add("Allow", method)
	}
	writeError(w, r, apierrors.NewMethodNotSupported(nodesResource, r.Method))
}
