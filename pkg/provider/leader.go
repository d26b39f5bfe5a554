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

// A leader that cannot renew its lease for leaseRenewDeadline stops. Another
// akd takes over leaseDuration after the last renewal. That is sooner than
// kube-controller-manager's 15 s, because a node's pods wait for it.
const (
	leaseDuration      = 12 * time.Second
	leaseRenewDeadline = 8 * time.Second
	leaseRetryPeriod   = 2 * time.Second
)

// errLeaseLost ends akd: after a restart, it waits for the lease again.
var errLeaseLost = errors.New("the leader lease was lost, so that another akd may serve the node: akd ends")

// leadership decides when this akd, one of the node's akds, is active.
type leadership interface {
	// run calls work once this akd is to be active, and returns after work has.
	// The context of work ends with ctx at the latest.
	run(ctx context.Context, work func(context.Context) error) error
	// leads reports whether this akd is active rather than on standby.
	leads() bool
}

// onlyOne is the leadership of a node's only akd.
type onlyOne struct{}

func (onlyOne) run(ctx context.Context, work func(context.Context) error) error { return work(ctx) }

func (onlyOne) leads() bool { return true }

// election lets one of a node's akds be active while the others stand by.
type election struct {
	client   kubernetes.Interface // the local cluster, as akd itself
	lease    types.NamespacedName
	identity string
	logger   *slog.Logger

	leading atomic.Bool
}

func (e *election) leads() bool { return e.leading.Load() }

// run waits for the lease and calls work while it holds the lease. The context
// of work ends with ctx or when the lease is lost, which is an error. run
// releases the lease after work has ended, so that the next leader never races
// with this one's writes.
func (e *election) run(ctx context.Context, work func(context.Context) error) error {
	held, release := context.WithCancel(context.WithoutCancel(ctx)) // the lease outlives ctx until work has ended
	defer release()
	started, done := make(chan struct{}), make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: e.lease.Namespace, Name: e.lease.Name},
			Client:     e.client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: e.identity},
		},
		Name:            e.lease.String(),
		LeaseDuration:   leaseDuration,
		RenewDeadline:   leaseRenewDeadline,
		RetryPeriod:     leaseRetryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(lease context.Context) {
				defer release()
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
	go func() {
		select {
		case <-started:
		case <-ctx.Done():
			select {
			case <-started: // the lease is released once work has ended
			default:
				release()
			}
		}
	}()
	elector.Run(held)
	select {
	case <-started:
		return <-done
	default:
		return ctx.Err()
	}
}

// lead runs work until ctx ends or the lease is lost.
func (e *election) lead(ctx, lease context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(lease, func() { cancel(errLeaseLost) })
	defer stop()
	if ctx.Err() != nil || lease.Err() != nil {
		return ctx.Err()
	}
	e.leading.Store(true)
	defer e.leading.Store(false)
	err := work(ctx)
	if errors.Is(context.Cause(ctx), errLeaseLost) {
		return errLeaseLost
	}
	return err
}
