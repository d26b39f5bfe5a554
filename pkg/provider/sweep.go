package provider

import (
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

const (
	// sweepFreely is how many orphans are deleted whatever their share is.
	sweepFreely = 5
	// maxOrphanShare of the remote pods is what a sweep may delete beyond that.
	maxOrphanShare = 0.5
	// deletionMemory is how long a watched deletion is remembered.
	deletionMemory = 24 * time.Hour
)

// register knows the local pods by UID, and which deletions were watched.
type register struct {
	clock clock.PassiveClock

	mu      sync.RWMutex
	pods    map[types.UID]types.NamespacedName
	deleted map[types.UID]time.Time
}

func newRegister(clock clock.PassiveClock) *register {
	return &register{clock: clock, pods: map[types.UID]types.NamespacedName{}, deleted: map[types.UID]time.Time{}}
}

// note takes in a change of a local pod.
func (r *register) note(c change[*corev1.Pod]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.old != nil && (c.new == nil || c.new.UID != c.old.UID) {
		delete(r.pods, c.old.UID)
		// A watch that shows another UID under the name says as much as one
		// that shows the deletion.
		if c.watched || c.new != nil {
			r.deleted[c.old.UID] = r.clock.Now()
		}
	}
	if c.new != nil {
		r.pods[c.new.UID] = types.NamespacedName{Namespace: c.new.Namespace, Name: c.new.Name}
	}
}

// has reports whether the local pod of that UID exists.
func (r *register) has(uid types.UID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.pods[uid]
	return ok
}

// sawDeleted reports whether the pod's deletion was watched.
func (r *register) sawDeleted(uid types.UID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.deleted[uid]
	return ok
}

// prune forgets deletions of long ago.
func (r *register) prune() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for uid, when := range r.deleted {
		if r.clock.Since(when) > deletionMemory {
			delete(r.deleted, uid)
		}
	}
}

// brake keeps akd from deleting most of what runs because the local cluster
// seems empty, as it does after a restore from an old backup or when akd was
// pointed at the wrong cluster.
type brake struct {
	local  *register
	spaces *spaces
	limit  float64 // the share of remote pods that may go at once
	logger *slog.Logger

	mu      sync.Mutex
	stopped bool
}

// allows reports whether orphans may be deleted now: remote pods whose local
// pod is gone without its deletion having been watched.
func (b *brake) allows() bool {
	orphans, total := b.count()
	stop := orphans > sweepFreely && float64(orphans) > b.limit*float64(total)
	b.mu.Lock()
	defer b.mu.Unlock()
	if stop && !b.stopped {
		b.logger.Error("sweep stopped: most remote pods have no local pod; check that akd serves the right cluster, then delete the remote namespaces by hand",
			"orphans", orphans, "pods", total)
	}
	b.stopped = stop
	return !stop
}

// isStopped reports whether the last sweep was refused.
func (b *brake) isStopped() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stopped
}

func (b *brake) count() (orphans, total int) {
	for _, space := range b.spaces.all() {
		for _, pod := range space.pods.all() {
			uid := types.UID(pod.Labels[contract.LabelUID])
			if uid == "" {
				continue
			}
			total++
			if !b.local.has(uid) && !b.local.sawDeleted(uid) {
				orphans++
			}
		}
	}
	return orphans, total
}
