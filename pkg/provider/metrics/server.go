package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

const (
	// There are few clients: a scraper, a probe, an engineer.
	maxConnections = 64
	maxScrapes     = 4
	headerTime     = 10 * time.Second
	headerBytes    = 16 << 10
	idleTime       = 90 * time.Second
	shutdownTime   = 5 * time.Second
	// checkTime limits all checks of a probe together. A kubelet waits 1 s by
	// default.
	checkTime = 5 * time.Second
)

// Check is one condition of being healthy or ready.
type Check struct {
	// Name appears in the response.
	Name string
	// Check returns nil if the condition holds. Its error is logged, not shown.
	Check func(context.Context) error
}

// ServerConfig is what a Server needs. Gatherer, Logger and one of Listener
// and Address are required.
type ServerConfig struct {
	// Address is where to listen. Listener, if set, is used instead; Run closes it.
	Address  string
	Listener net.Listener
	Gatherer prometheus.Gatherer
	// Live are the checks of /healthz. If one fails, a restart may help.
	Live []Check
	// Ready are the checks of /readyz. If one fails, akd cannot do its work.
	Ready []Check
	// Profiling enables /debug/pprof/.
	Profiling bool
	Logger    *slog.Logger
}

// Server serves metrics and probes over plain HTTP, without authentication.
type Server struct {
	cfg     ServerConfig
	handler http.Handler
}

// NewServer returns a Server. It opens nothing until Run.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Gatherer == nil || cfg.Logger == nil {
		return nil, errors.New("metrics server needs a Gatherer and a Logger")
	}
	if cfg.Listener == nil && cfg.Address == "" {
		return nil, errors.New("metrics server needs an address, such as :10254")
	}
	return &Server{cfg: cfg, handler: routes(cfg)}, nil
}

func routes(cfg ServerConfig) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Gatherer, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes,
		ErrorLog:            slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn),
		// One collector that fails must not hide the others.
		ErrorHandling: promhttp.ContinueOnError,
	}))
	mux.Handle("GET /healthz", newProbe("healthz", cfg.Live, cfg.Logger))
	mux.Handle("GET /readyz", newProbe("readyz", cfg.Ready, cfg.Logger))
	if cfg.Profiling {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// Handler serves all paths, for use in another server.
func (s *Server) Handler() http.Handler { return s.handler }

// Run listens and serves until ctx ends. It lets open requests finish.
func (s *Server) Run(ctx context.Context) error {
	listener := s.cfg.Listener
	if listener == nil {
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Address); err != nil {
			return fmt.Errorf("serve metrics (is the port in use? choose another metrics.address): %w", err)
		}
	}
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(netutil.LimitListener(listener, maxConnections)) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve metrics: %w", err)
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if server.Shutdown(bounded) != nil {
		_ = server.Close() // do not wait for a profile
	}
	<-served
	return nil
}

// probe responds with the names of the checks, as the servers of Kubernetes do.
type probe struct {
	name   string
	checks []Check
	logger *slog.Logger

	mu     sync.Mutex
	failed map[string]bool // already logged
}

func newProbe(name string, checks []Check, logger *slog.Logger) *probe {
	return &probe{name: name, checks: checks, logger: logger, failed: map[string]bool{}}
}

// ServeHTTP implements http.Handler. It does not show reasons: anyone who reaches
// the port can read the response, and an error may contain a remote address.
func (p *probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTime)
	defer cancel()
	var lines strings.Builder
	status := http.StatusOK
	for _, check := range p.checks {
		err := check.Check(ctx)
		if r.Context().Err() != nil {
			return // the client has gone, which does not mean that the check failed
		}
		p.logChange(check.Name, err)
		if err != nil {
			status = http.StatusServiceUnavailable
			fmt.Fprintf(&lines, "[-]%s failed: see the log of akd\n", check.Name)
			continue
		}
		fmt.Fprintf(&lines, "[+]%s ok\n", check.Name)
	}
	verdict := "passed"
	if status != http.StatusOK {
		verdict = "failed"
	}
	fmt.Fprintf(&lines, "%s check %s\n", p.name, verdict)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(lines.String()))
}

// logChange logs a check once when it begins to fail, and once when it recovers.
func (p *probe) logChange(check string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed[check] == (err != nil) {
		return
	}
	p.failed[check] = err != nil
	if err != nil {
		p.logger.Warn("probe failed", "probe", p.name, "check", check, "error", err)
		return
	}
	p.logger.Info("probe recovered", "probe", p.name, "check", check)
}
