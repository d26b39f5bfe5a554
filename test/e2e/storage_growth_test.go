//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// growOnline: claims grow under their pod, which goes on, while akd is killed again and again.
// Each size that the local cluster shows is one that the remote claim has reached: the volume
// shows it first, and no smaller one follows (I6).
func (s stored) growOnline(t *testing.T, akd *env.AKD) {
	namespace := s.Namespace(t, "driven-online")
	s.Apply(t, namespace, smallClaim(s.node, "disk", asDevice...)+withDevice("device", "disk"))
	s.Apply(t, namespace, smallClaim(s.node, "data")+env.Mounting("db", "data", env.Started))
	s.WaitReady(t, namespace, "device", "db")
	s.Pod(namespace, "device").Shell(t, "echo written | dd of=/dev/volume conv=fsync")
	var seen []*growth
	for _, claim := range []string{"disk", "data"} {
		seen = append(seen, s.watchSizes(t, namespace, claim))
	}
	stop := s.killAgainAndAgain(t, akd)
	for _, size := range []string{"3Mi", "5Mi", "9Mi", "17Mi", "33Mi"} {
		s.resize(t, namespace, "disk", size)
		s.resize(t, namespace, "data", size)
		s.waitCapacity(t, namespace, "disk", size)
		s.waitCapacity(t, namespace, "data", size)
	}
	t.Logf("akd was killed %d times", stop())
	akd.WaitReady(t)
	s.wantDevice(t, namespace, "device", "written", 33<<20)
	s.wantLog(t, namespace, "db", "db")
	for _, one := range seen {
		one.check(t, 33<<20)
	}
}

// growth is what a claim was seen to have, in bytes.
type growth struct {
	claim string

	mu     sync.Mutex
	remote []int64   // of the remote claim
	local  []oneSize // of the local claim and its volume, in no order
	end    func()    // ends the watches
	ended  sync.WaitGroup
}

// oneSize is that of a local object at a resource version, which all objects of a cluster
// share.
type oneSize struct {
	version uint64
	volume  bool // otherwise of the claim
	bytes   int64
}

// watchSizes watches a claim on both sides, and its local volume, until check is called or
// the test ends.
func (s stored) watchSizes(t *testing.T, namespace, claim string) *growth {
	t.Helper()
	volume := s.Claim(namespace, claim).WaitBound(t)
	ctx, cancel := context.WithCancel(t.Context())
	seen := &growth{claim: claim, end: cancel}
	t.Cleanup(func() { cancel(); seen.ended.Wait() })
	named := func(name string) metav1.ListOptions {
		return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()}
	}
	seen.watch(ctx, t, func() (watch.Interface, error) {
		return s.Local.CoreV1().PersistentVolumes().Watch(ctx, named(volume.Name))
	})
	seen.watch(ctx, t, func() (watch.Interface, error) {
		return s.Local.CoreV1().PersistentVolumeClaims(namespace).Watch(ctx, named(claim))
	})
	seen.watch(ctx, t, func() (watch.Interface, error) {
		return s.Remote.CoreV1().PersistentVolumeClaims(volume.RemoteNamespace).Watch(ctx, named(volume.Name))
	})
	return seen
}

// watch notes what a watch shows, beginning with the present state. If one ends early, sizes
// may be missed, and the test fails.
func (g *growth) watch(ctx context.Context, t *testing.T, start func() (watch.Interface, error)) {
	t.Helper()
	events, err := start()
	if err != nil {
		t.Fatal(err)
	}
	g.ended.Go(func() {
		defer events.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case event, open := <-events.ResultChan():
				if !open {
					t.Errorf("a watch of claim %s has ended", g.claim)
					return
				}
				g.note(event)
			}
		}
	})
}

func (g *growth) note(event watch.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch object := event.Object.(type) {
	case *corev1.PersistentVolume:
		g.local = append(g.local, oneSize{versionOf(object), true, object.Spec.Capacity.Storage().Value()})
	case *corev1.PersistentVolumeClaim:
		size := object.Status.Capacity.Storage().Value()
		if object.Name == g.claim {
			g.local = append(g.local, oneSize{versionOf(object), false, size})
		} else {
			g.remote = append(g.remote, size)
		}
	}
}

func versionOf(object metav1.Object) uint64 {
	version, _ := strconv.ParseUint(object.GetResourceVersion(), 10, 64) // as KEP-5504 has it
	return version
}

// check waits until the watches have shown the last size, ends them, and judges what was
// seen.
func (g *growth) check(t *testing.T, last int64) {
	t.Helper()
	env.Eventually(t, "the watches of claim "+g.claim+" show the last size", func(context.Context) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, whose := range []bool{true, false} {
			if !slices.ContainsFunc(g.local, func(one oneSize) bool { return one.volume == whose && one.bytes == last }) {
				return fmt.Errorf("of volume and claim: %v", g.local)
			}
		}
		if !slices.Contains(g.remote, last) {
			return fmt.Errorf("of the remote claim: %v", g.remote)
		}
		return nil
	})
	g.end()
	g.ended.Wait()
	slices.SortFunc(g.local, func(a, b oneSize) int { return cmp.Compare(a.version, b.version) })
	var volume, claim int64
	for _, one := range g.local {
		if !slices.Contains(g.remote, one.bytes) {
			t.Errorf("claim %s: %d bytes are shown locally, and the remote claim had %v", g.claim, one.bytes, g.remote)
		}
		was := &claim
		if one.volume {
			was = &volume
		}
		if one.bytes < *was {
			t.Errorf("claim %s: %d bytes are shown after %d", g.claim, one.bytes, *was)
		}
		if *was = one.bytes; claim > volume {
			t.Errorf("claim %s shows %d bytes, and its volume only %d", g.claim, claim, volume)
		}
	}
	t.Logf("claim %s had %v bytes remotely, and was seen %d times locally", g.claim, slices.Compact(g.remote), len(g.local))
}
