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
	// Readers are few and known: a scraper, a probe, an engineer.
	maxConnections = 64
	maxScrapes     = 4
	headerTime     = 10 * time.Second
	headerBytes    = 16 << 10
	idleTime       = 90 * time.Second
	shutdownTime   = 5 * time.Second
	// checkTime bounds all checks of a probe: a kubelet waits 1 s by default,
	// and longer only when it was told to.
	checkTime = 5 * time.Second
)

// Check is one thing that must hold.
type Check struct {
	// Name is shown to whoever asks.
	Name string
	// Check returns nil when it holds. Its error is logged, not shown.
	Check func(context.Context) error
}

// ServerConfig is what a Server needs. Gatherer, Logger and one of Listener
// and Address are required.
type ServerConfig struct {
	// Address to listen on. Listener, when set, is used instead and closed by
	// Run.
	Address  string
	Listener net.Listener
	Gatherer prometheus.Gatherer
	// Live are the checks of /healthz: when one fails, a restart may help.
	Live []Check
	// Ready are the checks of /readyz: when one fails, akd cannot do its work
	// now.
	Ready []Check
	// Profiling serves /debug/pprof/.
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
		return nil, errors.New("metrics server needs an address to listen on, such as :10254")
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

// Handler answers the requests, for a server of the caller's own.
func (s *Server) Handler() http.Handler { return s.handler }

// Run listens and serves until ctx ends, and lets open requests finish.
func (s *Server) Run(ctx context.Context) error {
	listener := s.cfg.Listener
	if listener == nil {
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Address); err != nil {
			return fmt.Errorf("serve metrics: %w: choose another metrics.address", err)
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
		_ = server.Close() // a profile in the making is not worth waiting for
	}
	<-served
	return nil
}

// probe answers with the names of the checks, as Kubernetes' own servers do.
type probe struct {
	name   string
	checks []Check
	logger *slog.Logger

	mu     sync.Mutex
	failed map[string]bool // what the log already says
}

func newProbe(name string, checks []Check, logger *slog.Logger) *probe {
	return &probe{name: name, checks: checks, logger: logger, failed: map[string]bool{}}
}

// ServeHTTP implements http.Handler. Reasons go to the log alone: whoever
// reaches the port may read this, and an error can hold an address of the
// remote.
func (p *probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTime)
	defer cancel()
	var lines strings.Builder
	status := http.StatusOK
	for _, check := range p.checks {
		err := check.Check(ctx)
		if r.Context().Err() != nil {
			return // the caller has gone: that says nothing about akd
		}
		p.note(check.Name, err)
		if err != nil {
			status = http.StatusServiceUnavailable
			fmt.Fprintf(&lines, "[-]%s failed: the log of akd says why\n", check.Name)
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

// note logs a change for the worse or the better, once.
func (p *probe) note(check string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed[check] == (err != nil) {
		return
	}
	p.failed[check] = err != nil
	if err != nil {
		p.logger.Warn("probe fails", "probe", p.name, "check", check, "error", err)
		return
	}
	p.logger.Info("probe passes again", "probe", p.name, "check", check)
}
