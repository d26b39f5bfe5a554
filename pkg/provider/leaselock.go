package provider

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/retry"
)

// lockSilence is how long the local API server may not answer requests for the
// lease before a standby akd is not ready.
const lockSilence = 30 * time.Second

// errVanished delays the successor of a leader whose lease was deleted.
var errVanished = errors.New("the lease has vanished: its last holder may still work")

// leaseLock is the lock of an election. It knows more than client-go's elector,
// which notices only after its deadline, or never, that the lease is lost: when
// the last successful renewal began, and whether another akd holds the lease.
type leaseLock struct {
	resourcelock.Interface

	mu       sync.Mutex
	renewed  time.Time // when the last successful renewal began; zero without one
	other    time.Time // when another holder was last seen in the lease; zero once released
	answered time.Time // when the API server last answered
	failure  error     // why it has not since
	lost     func()    // called once the lease is lost; nil while nobody watches
	overdue  *time.Timer
}

func newLeaseLock(lock resourcelock.Interface) *leaseLock {
	return &leaseLock{Interface: lock, answered: time.Now()}
}

// Get implements resourcelock.Interface.
func (l *leaseLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noteLocked(err)
	if err != nil {
		return record, raw, err
	}
	switch record.HolderIdentity {
	case l.Identity():
	case "":
		l.other = time.Time{}
	default:
		l.other, l.renewed = time.Now(), time.Time{}
		l.loseLocked()
	}
	return record, raw, nil
}

// Create implements resourcelock.Interface. If somebody deletes the lease, its
// holder creates it again; another akd that was faster would lead beside it.
func (l *leaseLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	l.mu.Lock()
	wait := !l.other.IsZero() && time.Since(l.other) < leaseDuration
	l.mu.Unlock()
	if wait {
		return errVanished
	}
	return l.write(func() error { return l.Interface.Create(ctx, record) })
}

// Update implements resourcelock.Interface.
func (l *leaseLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.write(func() error { return l.Interface.Update(ctx, record) })
}

// write counts the time from the beginning of the request: the others count from
// when they see its result, which is later.
func (l *leaseLock) write(request func() error) error {
	began := time.Now()
	err := request()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noteLocked(err)
	if err == nil {
		l.renewed = began
	}
	return err
}

func (l *leaseLock) noteLocked(err error) {
	if l.failure = err; err == nil {
		l.answered = time.Now()
	}
}

// release gives the lease back if this akd holds it.
func (l *leaseLock) release(ctx context.Context) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		record, _, err := l.Interface.Get(ctx)
		if err != nil || record.HolderIdentity != l.Identity() {
			return err
		}
		now := metav1.Now()
		return l.Interface.Update(ctx, resourcelock.LeaderElectionRecord{
			LeaderTransitions:    record.LeaderTransitions,
			LeaseDurationSeconds: 1,
			RenewTime:            now,
			AcquireTime:          now,
		})
	})
}

// isHeld reports whether no other akd can have taken over yet.
func (l *leaseLock) isHeld() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.renewed.IsZero() && time.Since(l.renewed) < leaseDuration
}

// watch calls lost, which may happen more than once, when the lease has not been
// renewed for leaseRenewDeadline or another akd holds it, until stop is called.
func (l *leaseLock) watch(lost func()) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = lost
	l.overdue = time.AfterFunc(time.Until(l.renewed.Add(leaseRenewDeadline)), l.checkOverdue)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lost = nil
		l.overdue.Stop()
	}
}

// checkOverdue loses the lease, or looks again when it would be overdue next.
func (l *leaseLock) checkOverdue() {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := time.Until(l.renewed.Add(leaseRenewDeadline))
	if left <= 0 {
		l.loseLocked()
		return
	}
	if l.lost != nil {
		l.overdue.Reset(left)
	}
}

func (l *leaseLock) loseLocked() {
	if l.lost != nil {
		l.lost()
	}
}

// check returns why this akd could not take over: it has not reached the lease
// for a while.
func (l *leaseLock) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure == nil || time.Since(l.answered) < lockSilence {
		return nil
	}
	return fmt.Errorf("the leader lease %s has not been reached since %s: %w",
		l.Describe(), l.answered.UTC().Format(time.RFC3339), l.failure)
}
