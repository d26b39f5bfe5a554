package podsync

import (
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

const (
	// deletionMemory is how long a watched deletion is remembered at most.
	deletionMemory = 24 * time.Hour
	// deletionLinger is how long it is remembered if there is no remote pod: a watch may
	// not have reported it yet.
	deletionLinger = 5 * time.Minute
)

// podIndex indexes the local pods by UID. It records watched deletions, and what
// akd knows of the remote pods that no cache has.
type podIndex struct {
	clock clock.PassiveClock

	mu      sync.RWMutex
	pods    map[types.UID]*indexed
	deleted map[types.UID]deletion
}

// deletion is what is known of a deletion that was watched.
type deletion struct {
	when time.Time
	// grace is the grace period with which the pod was deleted at last, in seconds; nil
	// if it is not known. Without one, the API server tells it a moment before the pod is
	// gone.
	grace *int64
}

// indexed is what is known of a local pod.
type indexed struct {
	name     types.NamespacedName
	finished bool
	// unsent means that no akd has ever sent its remote pod: it was bound while this
	// akd serves the node.
	unsent bool
	// last is the state in which a watch reported the deletion of its remote pod. A
	// finished pod has none.
	last *corev1.Pod
}

func newPodIndex(clock clock.PassiveClock) *podIndex {
	return &podIndex{clock: clock, pods: map[types.UID]*indexed{}, deleted: map[types.UID]deletion{}}
}

// observe records a change of a local pod.
func (i *podIndex) observe(c store.Change[*corev1.Pod]) {
	i.mu.Lock()
	defer i.mu.Unlock()
	replaced := c.Old != nil && (c.New == nil || c.New.UID != c.Old.UID)
	if replaced {
		delete(i.pods, c.Old.UID)
		// A watch that reports another UID for the name proves the deletion as well
		// as one that reports the deletion.
		if c.Watched || c.New != nil {
			i.noteDeletion(c.Old)
		}
	}
	if c.New == nil {
		return
	}
	pod := i.pods[c.New.UID]
	if pod == nil {
		_, restored := i.deleted[c.New.UID] // the local cluster, from before the deletion
		pod = &indexed{
			name:   types.NamespacedName{Namespace: c.New.Namespace, Name: c.New.Name},
			unsent: c.Watched && !restored,
		}
		i.pods[c.New.UID] = pod
	}
	if c.New.Status.StartTime != nil {
		pod.unsent = false // also if another akd led for a while
	}
	delete(i.deleted, c.New.UID)
	if pod.finished = translate.Finished(c.New); pod.finished {
		pod.last = nil
	}
}

// keepDeletion records a deletion that a watch has reported, before readers miss the pod.
func (i *podIndex) keepDeletion(local *corev1.Pod) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.noteDeletion(local)
}

func (i *podIndex) noteDeletion(local *corev1.Pod) {
	i.deleted[local.UID] = deletion{when: i.clock.Now(), grace: local.DeletionGracePeriodSeconds}
}

// has reports whether the local pod of that UID exists.
func (i *podIndex) has(uid types.UID) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.pods[uid] != nil
}

// hasTombstone reports whether the pod's deletion was watched.
func (i *podIndex) hasTombstone(uid types.UID) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	_, ok := i.deleted[uid]
	return ok
}

// graceOf returns the grace period with which a pod was deleted, in seconds, or nil if it
// is not known.
func (i *podIndex) graceOf(uid types.UID) *int64 {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.deleted[uid].grace
}

// prune drops deletions that are of no use any more. remote has the UIDs of the local
// pods whose remote pods exist.
func (i *podIndex) prune(remote map[types.UID]bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	maps.DeleteFunc(i.deleted, func(uid types.UID, deleted deletion) bool {
		age := i.clock.Since(deleted.when)
		return age > deletionMemory || age > deletionLinger && !remote[uid]
	})
}

// sends records that the remote pod is about to be sent, and reports whether it is the
// first time. An earlier one of the same local pod, which no kubelet ever had, is
// forgotten.
func (i *podIndex) sends(uid types.UID) (first bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	pod := i.pods[uid]
	if pod == nil {
		return false
	}
	first = pod.unsent
	pod.unsent, pod.last = false, nil
	return first
}

// refused records that the remote API server has refused what was sent first.
func (i *podIndex) refused(uid types.UID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if pod := i.pods[uid]; pod != nil {
		pod.unsent = true
	}
}

// isUnsent reports whether certainly nothing of the pod was ever sent to the remote
// cluster. It is false for a pod that was bound before this akd served the node.
func (i *podIndex) isUnsent(uid types.UID) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.pods[uid] != nil && i.pods[uid].unsent
}

// keepLast keeps the last state of a remote pod until its local pod is finished or
// gone.
func (i *podIndex) keepLast(remote *corev1.Pod) {
	i.mu.Lock()
	defer i.mu.Unlock()
	pod := i.pods[types.UID(remote.Labels[contract.LabelUID])]
	name := types.NamespacedName{Namespace: remote.Labels[contract.LabelNamespace], Name: remote.Name}
	if pod != nil && !pod.finished && pod.name == name {
		pod.last = remote
	}
}

// lastOf returns the last state of the remote pod of a local one, or nil.
func (i *podIndex) lastOf(uid types.UID) *corev1.Pod {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if pod := i.pods[uid]; pod != nil {
		return pod.last
	}
	return nil
}
