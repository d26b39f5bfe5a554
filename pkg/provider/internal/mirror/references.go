package mirror

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// References watches the ConfigMaps and Secrets that pods refer to, and limits
// the number of watches: each costs akd and the local API server memory, and
// anybody who creates pods decides how many there are.
//
// A namespace gets no more watches than are left free, so that some are always
// left for another one: alone, it gets half of them.
type References struct {
	ReferencesConfig

	ConfigMaps *Watcher[*corev1.ConfigMap]
	Secrets    *Watcher[*corev1.Secret]

	freed chan struct{} // a watch has ended

	mu      sync.Mutex
	waiting map[string][]types.NamespacedName // pods by namespace, in order
	needs   map[types.NamespacedName]translate.Needs
}

// ReferencesConfig configures a References.
type ReferencesConfig struct {
	Local *cluster.Local
	// Queue gets the objects that have changed, and the pods that waited for room.
	Queue queue.Adder
	// Linger is how long an object is watched after the last pod that refers to it.
	Linger time.Duration
	// Limit is the maximum number of watches; 0 means none.
	Limit int
}

// NewReferences returns a References that watches nothing.
func NewReferences(config ReferencesConfig) *References {
	changed := func(kind queue.Kind) func(namespace, name string) {
		return func(namespace, name string) { config.Queue.Add(kind.Key(namespace, name)) }
	}
	r := &References{
		ReferencesConfig: config,
		ConfigMaps:       NewWatcher[*corev1.ConfigMap](config.Local.ConfigMap, changed(queue.ConfigMap), config.Linger),
		Secrets:          NewWatcher[*corev1.Secret](config.Local.Secret, changed(queue.Secret), config.Linger),
		freed:            make(chan struct{}, 1),
		waiting:          map[string][]types.NamespacedName{},
		needs:            map[types.NamespacedName]translate.Needs{},
	}
	r.ConfigMaps.ended, r.Secrets.ended = r.noteFreed, r.noteFreed
	return r
}

// Run watches until ctx ends.
func (r *References) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { r.ConfigMaps.Run(ctx) })
	running.Go(func() { r.Secrets.Run(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.freed:
			r.admitWaiting()
		}
	}
}

// noteFreed lets Run admit waiting pods, once for all watches that end together.
func (r *References) noteFreed() {
	select {
	case r.freed <- struct{}{}:
	default: // Run is already notified
	}
}

// Adopt watches what a pod refers to, even without room: an earlier akd has
// admitted the pod, and its copies must stay.
func (r *References) Adopt(pod types.NamespacedName, needs translate.Needs) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.useLocked(pod, needs)
}

// Use sets what a pod refers to, and starts and ends watches accordingly. If
// there is no room for more, the pod keeps what it has, and waits; see Waiting.
func (r *References) Use(pod types.NamespacedName, needs translate.Needs) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.admitLocked(pod, needs) {
		r.forgetLocked(pod)
		return
	}
	if _, waits := r.needs[pod]; !waits {
		r.waiting[pod.Namespace] = append(r.waiting[pod.Namespace], pod)
	}
	r.needs[pod] = needs
}

// Waiting returns a *Refusal if there is no room for what the pod refers to, or
// nil. Once there is room, the pod is queued.
func (r *References) Waiting(pod types.NamespacedName) *translate.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	needs, waits := r.needs[pod]
	if !waits {
		return nil
	}
	if r.admitLocked(pod, needs) {
		r.forgetLocked(pod)
		return nil
	}
	return &translate.Refusal{
		Reason: translate.ReasonReferencesExhausted,
		Message: fmt.Sprintf("The pod refers to %d ConfigMaps and Secrets. The node can follow %d, which its namespaces share, "+
			"and has no room for these now: the pod starts when other pods have ended.", len(needs.ConfigMaps)+len(needs.Secrets), r.Limit),
	}
}

// admitWaiting admits pods that wait, the first of each namespace in turn.
func (r *References) admitWaiting() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for admitted := true; admitted; {
		admitted = false
		for _, pods := range r.waiting {
			if pod := pods[0]; r.admitLocked(pod, r.needs[pod]) {
				r.forgetLocked(pod)
				r.Queue.Add(queue.Pod.Key(pod.Namespace, pod.Name))
				admitted = true
			}
		}
	}
}

// admitLocked watches what a pod refers to, if there is room.
func (r *References) admitLocked(pod types.NamespacedName, needs translate.Needs) bool {
	if !r.hasRoomLocked(pod.Namespace, needs) {
		r.ConfigMaps.endLingering(pod.Namespace)
		r.Secrets.endLingering(pod.Namespace)
		if !r.hasRoomLocked(pod.Namespace, needs) {
			return false
		}
	}
	r.useLocked(pod, needs)
	return true
}

func (r *References) hasRoomLocked(namespace string, needs translate.Needs) bool {
	more := r.ConfigMaps.unwatched(namespace, needs.ConfigMaps) + r.Secrets.unwatched(namespace, needs.Secrets)
	if more == 0 || r.Limit == 0 {
		return true
	}
	ownConfigMaps, allConfigMaps := r.ConfigMaps.count(namespace)
	ownSecrets, allSecrets := r.Secrets.count(namespace)
	left := r.Limit - allConfigMaps - allSecrets - more
	return ownConfigMaps+ownSecrets+more <= left
}

func (r *References) useLocked(pod types.NamespacedName, needs translate.Needs) {
	r.ConfigMaps.Use(pod, needs.ConfigMaps)
	r.Secrets.Use(pod, needs.Secrets)
}

// forgetLocked ends the wait of a pod.
func (r *References) forgetLocked(pod types.NamespacedName) {
	if _, waits := r.needs[pod]; !waits {
		return
	}
	delete(r.needs, pod)
	pods := r.waiting[pod.Namespace]
	at := slices.Index(pods, pod)
	if pods = slices.Delete(pods, at, at+1); len(pods) == 0 {
		delete(r.waiting, pod.Namespace)
		return
	}
	r.waiting[pod.Namespace] = pods
}
