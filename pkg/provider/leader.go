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

// A leader that cannot renew its lease for leaseRenewDeadline stops, and
// leaseDuration after its last renewal another one takes over. That is sooner
// than with kube-controller-manager's 15 s: a node's pods wait for it.
const (
	leaseDuration      = 12 * time.Second
	leaseRenewDeadline = 8 * time.Second
	leaseRetryPeriod   = 2 * time.Second
)

// errLeaseLost ends akd: whoever starts it anew has it wait for the lease again.
var errLeaseLost = errors.New("the leader lease was lost, so that another akd may serve the node: akd ends")

// leadership lets one of several akds of a node work, and the others wait.
type leadership struct {
	client   kubernetes.Interface // the local cluster, as akd itself
	lease    types.NamespacedName
	identity string
	logger   *slog.Logger

	leads atomic.Bool
}

// run waits for the lease, and works for as long as it is held. Work's context
// ends with ctx, or when the lease is lost, which is an error. The lease is
// given back when work has ended: the next leader never meets this one's writes.
func (l *leadership) run(ctx context.Context, work func(context.Context) error) error {
	held, release := context.WithCancel(context.WithoutCancel(ctx)) // the lease outlives ctx until work has ended
	defer release()
	started, done := make(chan struct{}), make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: l.lease.Namespace, Name: l.lease.Name},
			Client:     l.client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: l.identity},
		},
		Name:            l.lease.String(),
		LeaseDuration:   leaseDuration,
		RenewDeadline:   leaseRenewDeadline,
		RetryPeriod:     leaseRetryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(lease context.Context) {
				defer release()
				close(started)
				done <- l.lead(ctx, lease, work)
			},
			OnStoppedLeading: func() {},
			OnNewLeader: func(identity string) {
				l.logger.Info("the node has a leader", "lease", l.lease, "leader", identity, "self", identity == l.identity)
			},
		},
	})
	if err != nil {
		return fmt.Errorf("leader lease %s: %w", l.lease, err)
	}
	go func() {
		select {
		case <-started:
		case <-ctx.Done():
			select {
			case <-started: // the lease is given back when work has ended
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

// lead works until ctx ends or the lease is lost.
func (l *leadership) lead(ctx, lease context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(lease, func() { cancel(errLeaseLost) })
	defer stop()
	if ctx.Err() != nil || lease.Err() != nil {
		return ctx.Err()
	}
	l.leads.Store(true)
	defer l.leads.Store(false)
	err := work(ctx)
	if errors.Is(context.Cause(ctx), errLeaseLost) {
		return errLeaseLost
	}
	return err
}
