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

// Pods tells the server about the pods of its node. Answers come from caches;
// the objects are not changed.
type Pods interface {
	// Pod returns a local pod that is bound to the node.
	Pod(namespace, name string) (*corev1.Pod, bool)
	// List returns all of them.
	List() []*corev1.Pod
	// Remote returns where the pod runs; false when it was not created there
	// yet, or what bears its name there was made for another UID.
	Remote(local *corev1.Pod) (namespace, name string, ok bool)
}

// Limits keep slow, dead and greedy peers from exhausting akd. A zero field
// means its default.
type Limits struct {
	// Connections at a time; more wait unaccepted. 4096. Half of them at most
	// are of callers who have shown no right yet.
	Connections int
	// Streams at a time: logs, exec, attach, port-forward; more get 429. 1024.
	// One user has three quarters of them at most.
	Streams int
	// HeaderBytes of one request. 64 KiB.
	HeaderBytes int
	// HeaderTime for the TLS handshake, and again for the headers. 10 s.
	HeaderTime time.Duration
	// IdleTime of a connection between two requests. 90 s, as Go's clients.
	// A stream has no idle limit: the kubelet's own ends them after 4 h.
	IdleTime time.Duration
	// ShutdownTime is what open requests get to end by themselves. 5 s.
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

// Config is what a Server needs. NodeName, Pods, Remote, Auth, Certificates,
// Logger and one of Listener and Address are required.
type Config struct {
	NodeName string
	// Address to listen on, ":10250" by custom. Listener, when set, is used
	// instead and closed by Run.
	Address  string
	Listener net.Listener

	Pods Pods
	// Remote is the way to the remote API server, with akd's credentials; they
	// may rotate (a token file, a wrapped transport).
	Remote *rest.Config
	// Auth judges callers. Run runs it.
	Auth *Auth
	// Certificates are served. Run runs them.
	Certificates *Certificates

	// Usage of the remote pods; without it the stats endpoints say that usage
	// is not configured.
	Usage Usage
	// Gatherer is served at /metrics.
	Gatherer prometheus.Gatherer
	// Registerer gets the server's own metrics, akd_kubelet_api_*; nil for none.
	Registerer prometheus.Registerer
	// Configz is served at /configz as JSON, under the key akd. It must hold no
	// secret.
	Configz any
	// Health is asked by /healthz; nil means healthy.
	Health func(context.Context) error
	// AnonymousHealth serves the health checks without authentication, for
	// probes that cannot present any.
	AnonymousHealth bool

	Limits Limits
	// StartTime is reported as the node's. Clock is the real one when nil.
	StartTime time.Time
	Clock     clock.PassiveClock
	Logger    *slog.Logger
}

// Server serves the kubelet API. Make it with New.
type Server struct {
	cfg     Config
	log     *slog.Logger
	remotes *remotes
	usage   *cpuCounters
	streams *streamLimiter
	buffers buffers
	handler http.Handler
	// instruments are nil without a Registerer.
	instruments *Instruments
	open        inFlight
}

// New returns a Server. It opens nothing until Run.
func New(cfg Config) (*Server, error) {
	if cfg.NodeName == "" || cfg.Pods == nil || cfg.Remote == nil || cfg.Auth == nil || cfg.Certificates == nil || cfg.Logger == nil {
		return nil, errors.New("kubelet API needs NodeName, Pods, Remote, Auth, Certificates and Logger")
	}
	if cfg.Listener == nil && cfg.Address == "" {
		return nil, errors.New("kubelet API needs an address to listen on, such as :10250")
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
		streams: newStreamLimiter(cfg.Limits.Streams),
	}
	if s.instruments, err = NewInstruments(cfg.Registerer, s.streams.open, cfg.Certificates.State); err != nil {
		return nil, err
	}
	s.handler = s.routes()
	return s, nil
}

// Run serves until ctx ends, then gives open requests Limits.ShutdownTime,
// ends them, and returns when every one has. The error says why it could not
// listen or serve.
func (s *Server) Run(ctx context.Context) error {
	listener, err := s.listen(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Requests outlive ctx by the time of the shutdown.
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
			return nil, fmt.Errorf("listen for the kubelet API (is another kubelet on this port? choose another address): %w", err)
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
		// Go would answer "OPTIONS *" by itself, to anybody.
		DisableGeneralOptionsHandler: true,
	}
	// One stream per connection: a reader who stalls stalls nobody else, and
	// limits on connections mean what they say.
	server.Protocols.SetHTTP1(true)
	return server
}

func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// For 1.2; those of 1.3 are all good and not configurable.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		// Asked for, not demanded: a caller may bring a token instead. Auth verifies.
		ClientAuth:     tls.RequestClientCert,
		GetCertificate: s.cfg.Certificates.get,
		NextProtos:     []string{"http/1.1"},
	}
}

func (s *Server) shutdown(ctx context.Context, server *http.Server, endRequests context.CancelFunc) {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Limits.ShutdownTime)
	defer cancel()
	_ = server.Shutdown(grace) // knows nothing of upgraded connections
	done := s.open.drain()
	select {
	case <-done:
	case <-grace.Done():
	}
	endRequests()
	_ = server.Close()
	<-done
}

// routes registers every path with the rights it needs. Rights hang on the
// route that was matched, never on the text of the path, so that no spelling of
// a path is judged as another.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	add := func(methods string, subresources []string, handler http.HandlerFunc, patterns ...string) {
		for _, pattern := range patterns {
			mux.HandleFunc(pattern, s.authorized(methods, subresources, handler))
		}
	}
	proxy := []string{"proxy"}
	// kubelet's fine-grained subresources, with fallback to proxy: KEP-2862.
	pods, healthz, configz := []string{"pods", "proxy"}, []string{"healthz", "proxy"}, []string{"configz", "proxy"}
	stats, metrics := []string{"stats"}, []string{"metrics"}

	add("GET POST", proxy, s.streamHandler("exec", execQuery, true),
		"/exec/{namespace}/{pod}/{container}", "/exec/{namespace}/{pod}/{uid}/{container}")
	add("GET POST", proxy, s.streamHandler("attach", attachQuery, true),
		"/attach/{namespace}/{pod}/{container}", "/attach/{namespace}/{pod}/{uid}/{container}")
	add("GET POST", proxy, s.streamHandler("portforward", portForwardQuery, true),
		"/portForward/{namespace}/{pod}", "/portForward/{namespace}/{pod}/{uid}")
	add("GET", proxy, s.streamHandler("log", logQuery, false), "/containerLogs/{namespace}/{pod}/{container}")
	add("POST", proxy, s.run, "/run/{namespace}/{pod}/{container}", "/run/{namespace}/{pod}/{uid}/{container}")

	add("GET", pods, s.pods, "/pods", "/pods/{$}")
	add("GET", pods, s.runningPods, "/runningpods", "/runningpods/{$}")
	add("GET", configz, s.configz, "/configz")
	add("GET HEAD", healthz, s.healthz, healthPaths[:]...)
	add("GET", metrics, s.metrics, "/metrics", "/metrics/{$}")
	add("GET", metrics, s.resourceMetrics, "/metrics/resource")
	add("GET POST", stats, s.summary, "/stats/summary")

	add("", metrics, absent("cAdvisor, probe and other machine metrics are those of the remote cluster's kubelets: scrape them there"),
		"/metrics/")
	add("", stats, absent("of the stats endpoints only /stats/summary is served"), "/stats/")
	add("", []string{"log"}, absent("this node has no machine of its own, and no system logs"), "/logs/")
	add("", []string{"checkpoint"}, notImplemented("containers are checkpointed by the remote cluster's kubelets"), "/checkpoint/")
	add("", pods, absent("the remote cluster's kubelets allocate resources to pods; see /pods"), "/allocatedPods", "/allocatedPods/")
	add("", []string{"statusz"}, absent("statusz is not served; see /metrics and /healthz"), "/statusz")
	add("", []string{"configz"}, absent("flagz is not served; see /configz"), "/flagz")
	add("", healthz, absent("no such health check; see /healthz"), "/healthz/")
	add("", proxy, absent("no such path in the kubelet API of this node"), "/")
	return s.authenticated(mux)
}

func absent(why string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		writeError(w, r, newStatus(http.StatusNotFound, metav1.StatusReasonNotFound, "%s: %s", r.URL.Path, why))
	}
}

func notImplemented(why string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		writeError(w, r, newStatus(http.StatusNotImplemented, metav1.StatusReasonMethodNotAllowed, "not implemented: %s", why))
	}
}

// methodNotAllowed tells which methods a path has.
func methodNotAllowed(w http.ResponseWriter, r *http.Request, methods []string) {
	for _, method := range methods {
		w.Header().Add("Allow", method)
	}
	writeError(w, r, apierrors.NewMethodNotSupported(nodesResource, r.Method))
}
