package provider

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// candidate is one of a node's akds.
type candidate struct {
	election
	stop context.CancelFunc
	done chan error
}

func newCandidate(t *testing.T, client *fake.Clientset, identity string, working *atomic.Int32) *candidate {
	t.Helper()
	c := &candidate{
		election: election{
			client:   client,
			lease:    types.NamespacedName{Namespace: "actual-system", Name: "ak"},
			identity: identity,
			logger:   slog.New(slog.DiscardHandler),
		},
		done: make(chan error, 1),
	}
	ctx, stop := context.WithCancel(t.Context())
	c.stop = stop
	go func() {
		c.done <- c.run(ctx, func(ctx context.Context) error {
			if working.Add(1) > 1 {
				t.Error("two akds work at the same time")
			}
			<-ctx.Done()
			time.Sleep(time.Second) // in fake time
			working.Add(-1)
			return ctx.Err()
		})
	}()
	return c
}

// A stopping leader hands over immediately after its work has ended, not
// before.
func TestLeaderHandsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, working := fake.NewClientset(), &atomic.Int32{}
		first := newCandidate(t, client, "first", working)
		time.Sleep(time.Second) // in fake time
		second := newCandidate(t, client, "second", working)
		time.Sleep(time.Minute) // in fake time
		if !first.leads() || second.leads() {
			t.Fatalf("first leads %t, second leads %t: want the first alone", first.leads(), second.leads())
		}
		first.stop()
		if err := <-first.done; !errors.Is(err, context.Canceled) {
			t.Errorf("the first ended with %v, want what its work ended with", err)
		}
		time.Sleep(3 * leaseRetryPeriod) // in fake time
		if !second.leads() {
			t.Error("the second does not lead after the first has given the lease back")
		}
		second.stop()
		<-second.done
	})
}

// A leader that cannot renew its lease stops before another one may start.
func TestLeaderLosesLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, working := fake.NewClientset(), &atomic.Int32{}
		var cut atomic.Bool
		client.PrependReactor("update", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			return cut.Load(), nil, errors.New("the API server does not answer")
		})
		first := newCandidate(t, client, "first", working)
		time.Sleep(time.Minute) // in fake time
		cut.Store(true)
		if err := <-first.done; !errors.Is(err, errLeaseLost) {
			t.Errorf("ended with %v, want %v", err, errLeaseLost)
		}
		cut.Store(false)
		second := newCandidate(t, client, "second", working)
		time.Sleep(leaseDuration + 3*leaseRetryPeriod) // in fake time
		if !second.leads() {
			t.Error("nobody took over within 20 s")
		}
		second.stop()
		<-second.done
	})
}

// A standby akd stops when its context ends, without ever having been active.
func TestWaitingLeaderEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, working := fake.NewClientset(), &atomic.Int32{}
		first := newCandidate(t, client, "first", working)
		time.Sleep(time.Second) // in fake time
		second := newCandidate(t, client, "second", working)
		time.Sleep(time.Second) // in fake time
		second.stop()
		if err := <-second.done; !errors.Is(err, context.Canceled) || second.leads() {
			t.Errorf("ended with %v, leads %t", err, second.leads())
		}
		first.stop()
		<-first.done
	})
}
