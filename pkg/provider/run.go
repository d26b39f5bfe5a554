package provider

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/metrics"
)

// registerPause is the delay before akd retries to register the node.
const registerPause = 2 * time.Second

// Build identifies this build of akd.
type Build struct {
	Version, Revision string
}

// Run serves the configured node until ctx ends. A *UsageError describes what
// the user has to change; any other error, why akd had to stop.
func Run(ctx context.Context, cfg *config.Configuration, build Build, logger *slog.Logger) error {
	clock := clock.RealClock{}
	counted := metrics.New(metrics.Build(build), clock)
	connected, err := connector{cfg: cfg, metrics: counted, clock: clock, logger: logger}.connect(ctx)
	if err != nil {
		return err
	}
	a, err := assembler{cfg: cfg, clients: connected, metrics: counted, clock: clock, logger: logger}.assemble(ctx)
	if err != nil {
		return err
	}
	facts := connected.facts
	logger.Info("akd starts", "node", cfg.NodeName, "localCluster", facts.localUID, "remoteCluster", facts.remoteUID,
		"localAPIServer", net.JoinHostPort(facts.apiServer.Host, strconv.Itoa(int(facts.apiServer.Port))))
	err = a.run(ctx)
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
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.kubelet.Run(ctx) })
	group.Go(func() error {
		(&scavenger{reconciles: a.controller.Reconciles, release: debug.FreeOSMemory, clock: a.clock}).run(ctx)
		return nil
	})
	group.Go(func() error {
		return a.controller.Run(ctx, func() { group.Go(func() error { return a.runNode(ctx) }) })
	})
	return group.Wait()
}

// runNode registers the node and maintains its lease and status until ctx ends.
func (a *akd) runNode(ctx context.Context) error {
	a.node.Adopt(ctx, a.local)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { a.node.Run(ctx); return nil })
	group.Go(func() error {
		store.New(store.Handlers[*corev1.Node]{Changed: a.nodeChanged}).Run(ctx, a.local.NodeListWatch())
		return nil
	})
	group.Go(func() error {
		return wait.PollUntilContextCancel(ctx, registerPause, true, func(ctx context.Context) (bool, error) {
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

// nodeChanged passes the local cluster's Node to the parts that need it.
func (a *akd) nodeChanged(change store.Change[*corev1.Node]) {
	a.node.Changed(change.New)
	a.controller.NodeChanged(change.New)
}

func (a *akd) nodeDeleted() {
	a.logger.Warn("the node was deleted and is registered anew", "node", a.local.NodeName())
}
