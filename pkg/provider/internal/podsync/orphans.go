package podsync

import (
	"log/slog"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
)

const (
	// alwaysAllowedOrphans is the number of orphans that akd deletes whatever
	// their share is.
	alwaysAllowedOrphans = 5
	// MaxOrphanShare is the share of the remote pods that akd may delete beyond
	// that.
	MaxOrphanShare = 0.5
)

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
	for namespace, pod := range g.namespaces.Pods() {
		uid := types.UID(pod.Labels[contract.LabelUID])
		if uid == "" {
			continue
		}
		total++
		if !g.local.has(uid) && !g.local.hasTombstone(uid) {
			orphans = append(orphans, queue.Pod.Key(namespace.Local, pod.Name))
		}
	}
	return orphans, total
}
