package podsync

import (
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
)

const (
	// alwaysAllowedOrphans is the number of orphans that akd deletes whatever
	// their share is.
	alwaysAllowedOrphans = 5
	// MaxOrphanShare is the share of the remote pods that akd may delete beyond
	// that.
	MaxOrphanShare = 0.5
	// deletionMemory is how long a watched deletion is remembered.
	deletionMemory = 24 * time.Hour
)

// podIndex indexes the local pods by UID, and records watched deletions.
type podIndex struct {
	clock clock.PassiveClock

	mu      sync.RWMutex
	pods    map[types.UID]types.NamespacedName
	deleted map[types.UID]time.Time
}

func newPodIndex(clock clock.PassiveClock) *podIndex {
	return &podIndex{clock: clock, pods: map[types.UID]types.NamespacedName{}, deleted: map[types.UID]time.Time{}}
}

// observe records a change of a local pod.
func (i *podIndex) observe(c store.Change[*corev1.Pod]) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if c.Old != nil && (c.New == nil || c.New.UID != c.Old.UID) {
		delete(i.pods, c.Old.UID)
		// A watch that reports another UID for the name proves the deletion as well
		// as one that reports the deletion.
		if c.Watched || c.New != nil {
			i.deleted[c.Old.UID] = i.clock.Now()
		}
	}
	if c.New != nil {
		delete(i.deleted, c.New.UID) // the local cluster was restored from before the deletion
		i.pods[c.New.UID] = types.NamespacedName{Namespace: c.New.Namespace, Name: c.New.Name}
	}
}

// has reports whether the local pod of that UID exists.
func (i *podIndex) has(uid types.UID) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	_, ok := i.pods[uid]
	return ok
}

// hasTombstone reports whether the pod's deletion was watched.
func (i *podIndex) hasTombstone(uid types.UID) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	_, ok := i.deleted[uid]
	return ok
}

// prune drops old deletions.
func (i *podIndex) prune() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for uid, when := range i.deleted {
		if i.clock.Since(when) > deletionMemory {
			delete(i.deleted, uid)
		}
	}
}

// orphanGuard keeps akd from deleting most running pods because the local
// cluster appears empty, as it does after a restore from an old backup or if
// akd is connected to the wrong cluster.
type orphanGuard struct {
	local      *podIndex
	namespaces *namespaces.Set
	limit      float64 // the share of remote pods that may be deleted at once
	queue      queue.Adder
	logger     *slog.Logger

	mu     sync.Mutex
	paused bool
}

// allows reports whether akd may delete orphans now: remote pods whose local
// pod is gone without a watched deletion.
func (g *orphanGuard) allows() bool {
	orphans, total := g.count()
	stop := len(orphans) > alwaysAllowedOrphans && float64(len(orphans)) > g.limit*float64(total)
	g.mu.Lock()
	began, ended := stop && !g.paused, g.paused && !stop
	g.paused = stop
	g.mu.Unlock()
	if began {
		g.logger.Error("orphan deletion is paused: most remote pods have no local pod; "+
			"check that akd serves the right cluster, then delete the remote namespaces by hand",
			"orphans", len(orphans), "pods", total)
	}
	if ended {
		g.logger.Info("orphan deletion continues: most remote pods have a local pod again", "orphans", len(orphans), "pods", total)
		for _, orphan := range orphans {
			g.queue.Add(orphan)
		}
	}
	return !stop
}

// isPaused reports whether orphans are kept. It counts again while they are,
// because nothing else may notice that they have gone.
func (g *orphanGuard) isPaused() bool {
	g.mu.Lock()
	paused := g.paused
	g.mu.Unlock()
	return paused && !g.allows()
}

func (g *orphanGuard) count() (orphans []queue.Key, total int) {
	for _, namespace := range g.namespaces.All() {
		for _, pod := range namespace.Pods.All() {
			uid := types.UID(pod.Labels[contract.LabelUID])
			if uid == "" {
				continue
			}
			total++
			if !g.local.has(uid) && !g.local.hasTombstone(uid) {
				orphans = append(orphans, queue.Pod.Key(namespace.Local, pod.Name))
			}
		}
	}
	return orphans, total
}
