package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/metrics"
)

// The time between two attempts to start doubles, from startFirst up to
// startLongest.
const (
	startFirst   = time.Second
	startLongest = 15 * time.Second
	startSteps   = 5
)

// rejectedReminder is how often a rejected credential is reported on the node: an
// API server keeps an event for an hour.
const rejectedReminder = time.Hour

// errStarting is why an akd that has not started is not ready.
var errStarting = errors.New("akd has not reached both clusters yet")

// starter starts akd once both clusters let it. An API server that does not
// answer, or a credential that has expired, is no reason to end: a restart brings
// neither back, and each makes the next one later. Meanwhile akd serves its
// metrics port, so that its container is alive but not ready.
type starter struct {
	cfg     *config.Configuration
	metrics *metrics.Metrics
	clock   clock.WithTicker
	logger  *slog.Logger
	// assemble connects to both clusters and makes akd.
	assemble func(context.Context) (*akd, error)

	started atomic.Pointer[akd]
	mu      sync.Mutex
	failure error // why akd has not started yet
	warned  time.Time
}

// run runs akd until ctx ends.
func (s *starter) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if s.cfg.Metrics.Address != "" {
		server, err := s.metricsServer()
		if err != nil {
			return err
		}
		group.Go(func() error { return server.Run(ctx) })
	}
	group.Go(func() error {
		a, err := s.start(ctx)
		if err != nil {
			return err
		}
		return a.run(ctx)
	})
	return group.Wait()
}

// start returns when akd has been assembled, ctx has ended, or the user has to
// change something.
func (s *starter) start(ctx context.Context) (*akd, error) {
	backoff := wait.Backoff{Duration: startFirst, Factor: 2, Steps: startSteps, Cap: startLongest, Jitter: 0.1}
	for {
		a, err := s.assemble(ctx)
		switch _, usage := errors.AsType[*UsageError](err); {
		case err == nil:
			s.started.Store(a)
			return a, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case usage:
			return nil, err
		}
		s.tell(ctx, err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.clock.After(backoff.Step()):
		}
	}
}

// tell reports why akd has not started yet.
func (s *starter) tell(ctx context.Context, err error) {
	s.logger.Warn("akd cannot start yet; trying again", "node", s.cfg.NodeName, "error", err)
	rejected, isRejected := errors.AsType[*rejectedError](err)
	s.mu.Lock()
	s.failure = err
	warn := isRejected && (s.warned.IsZero() || s.clock.Since(s.warned) >= rejectedReminder)
	if warn {
		s.warned = s.clock.Now()
	}
	s.mu.Unlock()
	if isRejected {
		rejected.report(ctx, warn)
	}
}

// check is the readiness of an akd that has not started.
func (s *starter) check(context.Context) error {
	if s.started.Load() != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		return errStarting
	}
	return fmt.Errorf("%w: %w", errStarting, s.failure)
}

func (s *starter) metricsServer() (*metrics.Server, error) {
	// once makes a check of akd's that counts once akd has started.
	once := func(check func(*akd, context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			if a := s.started.Load(); a != nil {
				return check(a, ctx)
			}
			return nil
		}
	}
	return metrics.NewServer(metrics.ServerConfig{
		Address:   s.cfg.Metrics.Address,
		Gatherer:  s.metrics.Gatherer(),
		Profiling: s.cfg.Profiling,
		Logger:    s.logger,
		Ready: []metrics.Check{
			{Name: "start", Check: s.check},
			{Name: "lease", Check: once(func(a *akd, ctx context.Context) error { return a.leadership.check(ctx) })},
			{Name: "caches", Check: once((*akd).checkSynced)},
			{Name: "remote", Check: once(func(a *akd, ctx context.Context) error { return a.probe.Check(ctx) })},
		},
	})
}

// logStart logs what akd serves, and between which clusters.
func (s *starter) logStart(facts facts) {
	s.logger.Info("akd starts", "node", s.cfg.NodeName, "localCluster", facts.localUID, "remoteCluster", facts.remoteUID,
		"localAPIServer", net.JoinHostPort(facts.apiServer.Host, strconv.Itoa(int(facts.apiServer.Port))))
}
