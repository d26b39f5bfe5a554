package provider

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// takeover is how long a standby akd may take to lead once it may: it looks every
// leaseRetryPeriod, plus client-go's jitter.
const takeover = 3 * leaseRetryPeriod

// candidate is one of a node's akds.
type candidate struct {
	*election
	stop  context.CancelFunc
	done  chan error
	terms atomic.Int32 // how often its work has begun
	ended atomic.Int64 // when its work was last told to end
}

// fakeClients returns the clients of several akds of one cluster. Each can be cut off
// separately.
func fakeClients(number int) []*fake.Clientset {
	clients := []*fake.Clientset{fake.NewClientset()}
	for len(clients) < number {
		client := &fake.Clientset{}
		client.AddReactor("*", "*", clienttesting.ObjectReaction(clients[0].Tracker()))
		clients = append(clients, client)
	}
	return clients
}

func newCandidate(t *testing.T, client *fake.Clientset, identity string, working *atomic.Int32) *candidate {
	t.Helper()
	lease := types.NamespacedName{Namespace: "actual-system", Name: "ak"}
	c := &candidate{election: newElection(client, lease, identity, slog.New(slog.DiscardHandler)), done: make(chan error, 1)}
	ctx, stop := context.WithCancel(t.Context())
	c.stop = stop
	go func() {
		c.done <- c.run(ctx, func(ctx context.Context) error {
			c.terms.Add(1)
			if working.Add(1) > 1 {
				t.Error("two akds work at the same time")
			}
			<-ctx.Done()
			c.ended.Store(time.Now().UnixNano())
			time.Sleep(time.Second) // in fake time
			working.Add(-1)
			return ctx.Err()
		})
	}()
	return c
}

// fail makes requests for leases fail while the flag is set. Each takes as long
// as given before it does.
func fail(client *fake.Clientset, after time.Duration) *atomic.Bool {
	var cut atomic.Bool
	client.PrependReactor("*", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		if !cut.Load() {
			return false, nil, nil
		}
		time.Sleep(after) // in fake time
		return true, nil, errors.New("the API server does not answer")
	})
	return &cut
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
		time.Sleep(takeover) // in fake time
		if !second.leads() {
			t.Error("the second does not lead after the first has given the lease back")
		}
		second.stop()
		<-second.done
	})
}

// The local API server is away for 50 s. akd stops its work, but it stays, and
// works anew soon after the server is back. It used to end, and a kubelet then
// waited for up to five minutes before it started akd again.
func TestLeaderSurvivesOutage(t *testing.T) {
	t.Parallel()
	tests := map[string]time.Duration{"refused": 0, "silent": 30 * time.Second}
	for name, hangs := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, working := fake.NewClientset(), &atomic.Int32{}
				cut := fail(client, hangs)
				only := newCandidate(t, client, "only", working)
				time.Sleep(time.Minute) // in fake time
				cut.Store(true)
				began := time.Now()
				time.Sleep(50 * time.Second) // in fake time
				if working.Load() != 0 || only.leads() {
					t.Errorf("%d akds work, leads %t, without a lease", working.Load(), only.leads())
				}
				if took := time.Unix(0, only.ended.Load()).Sub(began); took > leaseRenewDeadline {
					t.Errorf("work was told to end after %s, want at most %s", took, leaseRenewDeadline)
				}
				if err := only.check(t.Context()); err == nil {
					t.Error("akd says that it could take over")
				}
				cut.Store(false)
				time.Sleep(hangs + takeover) // in fake time
				if !only.leads() || only.terms.Load() != 2 {
					t.Errorf("leads %t in term %d, want true in term 2", only.leads(), only.terms.Load())
				}
				if err := only.check(t.Context()); err != nil {
					t.Errorf("akd is not ready: %v", err)
				}
				only.stop()
				<-only.done
			})
		})
	}
}

// A leader whose requests hang stops before another akd may start. client-go's
// elector first tries to release the lease, for another 8 s, and only then tells
// the work of its leader to stop: two akds worked for 6 s.
func TestLeaderStopsBeforeOthersStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clients, working := fakeClients(2), &atomic.Int32{}
		cut := fail(clients[0], leaseRenewDeadline)
		first := newCandidate(t, clients[0], "first", working)
		time.Sleep(time.Second) // in fake time
		second := newCandidate(t, clients[1], "second", working)
		time.Sleep(time.Minute) // in fake time
		cut.Store(true)
		// The second sees the last renewal late, and that it has run out, too.
		time.Sleep(leaseDuration + 2*takeover) // in fake time
		if first.leads() || !second.leads() {
			t.Errorf("first leads %t, second leads %t: want the second alone", first.leads(), second.leads())
		}
		cut.Store(false)
		time.Sleep(time.Minute) // in fake time
		if first.leads() || !second.leads() || first.terms.Load() != 1 {
			t.Errorf("first leads %t, second leads %t: want the second alone", first.leads(), second.leads())
		}
		second.stop()
		<-second.done
		time.Sleep(takeover) // in fake time
		if !first.leads() {
			t.Error("the first does not lead again")
		}
		first.stop()
		<-first.done
	})
}

// Somebody deletes the lease of a working leader. A standby akd that found none
// used to create its own, and led beside the leader for up to 8 s.
func TestLeaseDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clients, working := fakeClients(2), &atomic.Int32{}
		first := newCandidate(t, clients[0], "first", working)
		time.Sleep(time.Second) // in fake time
		second := newCandidate(t, clients[1], "second", working)
		for range 20 {
			// Each time at another moment between two renewals.
			time.Sleep(time.Minute + time.Second/3) // in fake time
			leases := coordinationv1.SchemeGroupVersion.WithResource("leases")
			if err := clients[0].Tracker().Delete(leases, "actual-system", "ak"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute) // in fake time
		if !first.leads() || second.leads() || first.terms.Load() != 1 {
			t.Errorf("first leads %t in term %d, second leads %t: want the first alone", first.leads(), first.terms.Load(), second.leads())
		}
		for _, c := range []*candidate{first, second} {
			c.stop()
			<-c.done
		}
	})
}

// If another akd holds the lease after all, as after a restore of the local
// cluster, the leader stops as soon as it sees that.
func TestLeaderSeesAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, working := fake.NewClientset(), &atomic.Int32{}
		var stale atomic.Bool // the fake does not compare resource versions
		client.PrependReactor("update", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			return stale.CompareAndSwap(true, false), nil, errors.New("the object has been modified")
		})
		only := newCandidate(t, client, "only", working)
		// Not at the instant of a renewal, which could write what it has read before.
		time.Sleep(time.Minute + leaseRetryPeriod/2) // in fake time
		holdLease(t, client, "other")
		stale.Store(true)
		began := time.Now()
		time.Sleep(takeover) // in fake time
		if took := time.Unix(0, only.ended.Load()).Sub(began); took > 2*leaseRetryPeriod || only.leads() {
			t.Errorf("work was told to end after %s, leads %t", took, only.leads())
		}
		time.Sleep(leaseDuration + takeover) // in fake time
		if !only.leads() || only.terms.Load() != 2 {
			t.Errorf("leads %t in term %d, want true in term 2", only.leads(), only.terms.Load())
		}
		only.stop()
		<-only.done
	})
}

// Work that does not end must not keep akd from ever leading again: a restart
// does.
func TestLeaderIsStuck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lease := types.NamespacedName{Namespace: "actual-system", Name: "ak"}
		e := newElection(fake.NewClientset(), lease, "stuck", slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		free := make(chan struct{})
		done := make(chan error, 1)
		go func() { done <- e.run(ctx, func(context.Context) error { <-free; return nil }) }()
		time.Sleep(time.Minute) // in fake time
		stop()
		if err := <-done; !errors.Is(err, errStuck) {
			t.Errorf("ended with %v, want %v", err, errStuck)
		}
		close(free)
	})
}

func holdLease(t *testing.T, client *fake.Clientset, identity string) {
	t.Helper()
	lease, err := client.CoordinationV1().Leases("actual-system").Get(t.Context(), "ak", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lease.Spec.HolderIdentity = &identity
	if _, err := client.CoordinationV1().Leases("actual-system").Update(t.Context(), lease, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
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
