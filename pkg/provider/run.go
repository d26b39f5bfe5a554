package provider

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/podsync"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/kubeletapi"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/metrics"
)

// registerPause is the delay before akd retries to register the node.
const registerPause = 2 * time.Second

// Build identifies this build of akd.
type Build struct {
	Version, Revision string
}

// Run serves the configured node until ctx ends. It waits for clusters that do not
// answer. A *UsageError describes what the user has to change; any other error, why
// akd had to stop.
func Run(ctx context.Context, cfg *config.Configuration, build Build, logger *slog.Logger) error {
	clock := clock.RealClock{}
	counted := metrics.New(metrics.Build(build), clock)
	s := &starter{cfg: cfg, metrics: counted, clock: clock, logger: logger}
	s.assemble = func(ctx context.Context) (*akd, error) {
		connected, err := connector{cfg: cfg, metrics: counted, clock: clock, logger: logger}.connect(ctx)
		if err != nil {
			return nil, err
		}
		a, err := assembler{cfg: cfg, clients: connected, metrics: counted, clock: clock, logger: logger}.assemble(ctx)
		if err != nil {
			return nil, err
		}
		s.logStart(connected.facts)
		return a, nil
	}
	err := s.run(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	logger.Info("akd stopped", "node", cfg.NodeName)
	return err
}

// run runs all parts of akd until ctx ends.
func (a *akd) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, serve := range a.always {
		group.Go(func() error { return serve(ctx) })
	}
	group.Go(func() error { return a.leadership.run(ctx, a.work) })
	return group.Wait()
}

// work serves the node until ctx ends; only one of a node's akds may do so.
func (a *akd) work(ctx context.Context) error {
	t, err := a.newTerm()
	if err != nil {
		return err
	}
	defer t.metrics.Close()
	a.current.Store(t)
	defer a.current.Store(nil)
	return t.run(ctx, func(ctx context.Context) error { return a.runNode(ctx, t) })
}

// checkSynced is a readiness check. A standby akd reports ready, because a rollout
// continues only once its new akd is ready.
func (a *akd) checkSynced(ctx context.Context) error {
	if t := a.current.Load(); t != nil {
		return t.controller.CheckSynced(ctx)
	}
	return nil
}

func (a *akd) orphansKept() bool {
	t := a.current.Load()
	return t != nil && t.controller.OrphansKept()
}

// ofTerm returns a function that counts what the current term of an akd holds. It
// returns the zero value if there is none.
func ofTerm[T any](a *akd, count func(*podsync.Controller) T) func() T {
	return func() (none T) {
		if t := a.current.Load(); t != nil {
			return count(t.controller)
		}
		return none
	}
}

// term holds the parts that serve the node from when this akd becomes the leader
// until it has to stop.
type term struct {
	controller *podsync.Controller
	kubelet    *kubeletapi.Server
	metrics    *metrics.Scope
	clock      clock.WithTicker
}

// run serves the node until ctx ends. It calls serveNode once everything has been
// read.
func (t *term) run(ctx context.Context, serveNode func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return t.kubelet.Run(ctx) })
	group.Go(func() error {
		(&scavenger{reconciles: t.controller.Reconciles, release: debug.FreeOSMemory, clock: t.clock}).run(ctx)
		return nil
	})
	group.Go(func() error {
		return t.controller.Run(ctx, func() { group.Go(func() error { return serveNode(ctx) }) })
	})
	return group.Wait()
}

// runNode registers the node and maintains its lease and status until ctx ends.
func (a *akd) runNode(ctx context.Context, t *term) error {
	a.node.Adopt(ctx, a.local)
	changed := func(change store.Change[*corev1.Node]) {
		a.node.Changed(change.New)
		t.controller.NodeChanged(change.New)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { a.node.Run(ctx); return nil })
	group.Go(func() error {
		store.New(store.Handlers[*corev1.Node]{Changed: changed}).Run(ctx, a.local.NodeListWatch())
		return nil
	})
	group.Go(func() error {
		return wait.PollUntilContextCancel(ctx, registerPause, true, func(ctx context.Context) (bool, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel() // the node notifies no controller that has ended
			controller, err := a.local.NodeController(a.node, a.node.Object, a.nodeDeleted)
			if err != nil {
				return false, err
			}
			if err := controller.Run(ctx); err != nil && ctx.Err() == nil {
				a.logger.Warn("the node is not registered; trying again", "error", err)
			}
			return false, nil
		})
	})
	return group.Wait()
}

func (a *akd) nodeDeleted() {
	a.logger.Warn("the node was deleted and is registered anew", "node", a.local.NodeName())
}
