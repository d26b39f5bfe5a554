package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// A leader that cannot renew its lease for leaseRenewDeadline stops its work.
// Another akd takes over leaseDuration after the last renewal. That is sooner
// than kube-controller-manager's 15 s, because a node's pods wait for it.
const (
	leaseDuration      = 12 * time.Second
	leaseRenewDeadline = 8 * time.Second
	leaseRetryPeriod   = 2 * time.Second
	// stopDeadline is how long work may take to end. After that, only the end of
	// the process ends it.
	stopDeadline = time.Minute
)

var (
	// errLeaseLost ends akd's work, but not akd: it waits for the lease again.
	errLeaseLost = errors.New("the leader lease was lost, so that another akd may serve the node")
	errStuck     = errors.New("akd's work does not end: akd ends instead, so that a restart begins anew")
)

// leadership decides when this akd, one of the node's akds, is active.
type leadership interface {
	// run calls work whenever this akd is to be active, until ctx ends or work
	// returns for another reason than that it had to stop. The context of work ends
	// with ctx at the latest. work begins anew each time.
	run(ctx context.Context, work func(context.Context) error) error
	// leads reports whether this akd is active rather than on standby.
	leads() bool
	// check returns why this akd can neither lead nor take over, or nil.
	check(context.Context) error
}

// onlyOne is the leadership of a node's only akd.
type onlyOne struct{}

func (onlyOne) run(ctx context.Context, work func(context.Context) error) error { return work(ctx) }

func (onlyOne) leads() bool { return true }

func (onlyOne) check(context.Context) error { return nil }

// election lets one of a node's akds be active while the others stand by.
type election struct {
	lease    types.NamespacedName
	identity string
	lock     *leaseLock
	logger   *slog.Logger

	leading atomic.Bool
}

// newElection returns the election for a lease of the local cluster, which client
// reaches as akd itself.
func newElection(client kubernetes.Interface, lease types.NamespacedName, identity string, logger *slog.Logger) *election {
	return &election{
		lease:    lease,
		identity: identity,
		logger:   logger,
		lock: newLeaseLock(&resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: lease.Namespace, Name: lease.Name},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		}),
	}
}

// leads also looks at the clock: if the process was suspended, the lease may have
// run out before anything else in akd notices.
func (e *election) leads() bool { return e.leading.Load() && e.lock.isHeld() }

func (e *election) check(context.Context) error { return e.lock.check() }

// run returns only when ctx ends or work fails: an outage of the local API server
// ends work, but akd stays and leads again within seconds after it.
func (e *election) run(ctx context.Context, work func(context.Context) error) error {
	for {
		err := e.term(ctx, work)
		if !errors.Is(err, errLeaseLost) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e.logger.Warn("the leader lease was lost: akd has stopped its work and stands by until it gets the lease again", "lease", e.lease)
	}
}

// term waits for the lease and calls work while it holds the lease. The context
// of work ends with ctx or when the lease is lost, which is an error. term
// releases the lease after work has ended, so that the next leader never races
// with this one's writes.
func (e *election) term(ctx context.Context, work func(context.Context) error) error {
	held, drop := context.WithCancel(context.WithoutCancel(ctx)) // the lease outlives ctx until work has ended
	defer drop()
	started, done := make(chan struct{}), make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          e.lock,
		Name:          e.lease.String(),
		LeaseDuration: leaseDuration,
		RenewDeadline: leaseRenewDeadline,
		RetryPeriod:   leaseRetryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(lease context.Context) {
				defer drop()
				close(started)
				done <- e.lead(ctx, lease, work)
			},
			OnStoppedLeading: func() {},
			OnNewLeader: func(identity string) {
				e.logger.Info("the node has a leader", "lease", e.lease, "leader", identity, "self", identity == e.identity)
			},
		},
	})
	if err != nil {
		return fmt.Errorf("leader lease %s: %w", e.lease, err)
	}
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-started: // the lease is kept until work has ended
		default:
			drop()
		}
	})
	defer stop()
	elector.Run(held)
	err = ctx.Err()
	select {
	case <-started:
		err = <-done
	default:
	}
	if !errors.Is(err, errLeaseLost) && !errors.Is(err, errStuck) {
		e.release(ctx)
	}
	return err
}

// release gives the lease back, so that another akd need not wait until it runs
// out. client-go's elector would do that, too, but before work has ended if a
// renewal fails, and it would tell work about the failure only afterwards.
func (e *election) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseRenewDeadline)
	defer cancel()
	if err := e.lock.release(ctx); err != nil {
		e.logger.Info("the leader lease is not released: the next akd waits until it runs out", "lease", e.lease, "error", err)
	}
}

// lead runs work until ctx ends or the lease is lost.
func (e *election) lead(ctx, lease context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lost := func() { cancel(errLeaseLost) }
	defer context.AfterFunc(lease, lost)()
	defer e.lock.watch(lost)()
	if ctx.Err() != nil || lease.Err() != nil {
		return ctx.Err()
	}
	e.leading.Store(true)
	defer e.leading.Store(false)
	defer context.AfterFunc(ctx, func() { e.leading.Store(false) })()
	ended := make(chan error, 1)
	go func() { ended <- work(ctx) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		select {
		case err = <-ended:
		case <-time.After(stopDeadline):
			return errStuck
		}
	}
	if errors.Is(context.Cause(ctx), errLeaseLost) {
		return errLeaseLost
	}
	return err
}
