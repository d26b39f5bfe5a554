package podsync

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

const (
	// A kubelet's own limits on events (eventRecordQPS, eventBurst).
	eventQPS   = 50
	eventBurst = 100
	// eventBacklog limits the number of waiting events; any more are dropped.
	eventBacklog = 4096
	// eventDelay gives priority to writes that users wait for: a kubelet emits
	// three events while it starts a container, and the status makes the pod
	// Running. Repetitions of an event within the delay are mirrored once.
	eventDelay = 250 * time.Millisecond
)

// eventMirror mirrors the events of a remote pod to its local pod, and those of a remote
// claim to its local claim. Events are
// best effort in Kubernetes, and so they are here: a write is not retried, and
// an event that an earlier akd has mirrored is not mirrored again.
type eventMirror struct {
	mapper *translate.Mapper
	local  *cluster.Local
	remote *cluster.Remote
	pod    func(namespace, name string) *corev1.Pod // the local pod, or nil
	// claim returns the local claim of a remote one; it is nil without storage.
	claim  func(*namespaces.Namespace, corev1.ObjectReference) *corev1.PersistentVolumeClaim
	logger *slog.Logger

	queue workqueue.TypedDelayingInterface[types.NamespacedName] // of remote events

	mu      sync.Mutex
	since   time.Time                              // an earlier akd has mirrored older events
	pending map[types.NamespacedName]mirroredEvent // the queued events in their current state
}

// mirroredEvent is a remote event to be mirrored.
type mirroredEvent struct {
	namespace *namespaces.Namespace
	event     *corev1.Event
	// claim is the local claim, if the event is about a claim.
	claim *corev1.PersistentVolumeClaim
	// local is the event's pod as of the event's arrival: it may be deleted before
	// the event is mirrored. It is nil if the pod was not in the cache then.
	local *corev1.Pod
}

func newEventMirror(
	mapper *translate.Mapper, local *cluster.Local, remote *cluster.Remote, pods *store.Store[*corev1.Pod], logger *slog.Logger,
) *eventMirror {
	return &eventMirror{
		mapper: mapper, local: local, remote: remote, pod: pods.Get, logger: logger,
		queue: workqueue.NewTypedDelayingQueue[types.NamespacedName](), pending: map[types.NamespacedName]mirroredEvent{},
	}
}

// run writes the events that watch adds, until ctx ends.
func (m *eventMirror) run(ctx context.Context) {
	defer context.AfterFunc(ctx, m.queue.ShutDown)()
	limit := flowcontrol.NewTokenBucketRateLimiter(eventQPS, eventBurst)
	for {
		id, shutdown := m.queue.Get()
		if shutdown || limit.Wait(ctx) != nil {
			return
		}
		if err := m.mirror(ctx, m.pop(id)); err != nil {
			m.logger.Debug("remote event not repeated", "error", err)
		}
		m.queue.Done(id)
	}
}

// add queues an event, or replaces the queued one. It returns false if too many
// events wait.
func (m *eventMirror) add(next mirroredEvent) bool {
	id := types.NamespacedName{Namespace: next.event.Namespace, Name: next.event.Name}
	switch next.event.InvolvedObject.Kind {
	case "Pod":
		next.local = m.localPod(next)
	case "PersistentVolumeClaim":
		if m.claim == nil || isRoutine(next.event.Reason) {
			return true
		}
		if next.claim = m.claim(next.namespace, next.event.InvolvedObject); next.claim == nil {
			return true
		}
	default:
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	before, waits := m.pending[id]
	if !waits && len(m.pending) >= eventBacklog {
		return false
	}
	if next.local == nil {
		next.local = before.local
	}
	m.pending[id] = next
	m.queue.AddAfter(id, eventDelay)
	return true
}

// isRoutine reports whether an event about a claim only says what the remote cluster waits
// for. The local cluster says the same of the local claim.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/volume/events/event.go
func isRoutine(reason string) bool {
	return slices.Contains([]string{"WaitForFirstConsumer", "WaitForPodScheduled", "ExternalProvisioning", "Provisioning"}, reason)
}

func (m *eventMirror) pop(id types.NamespacedName) mirroredEvent {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.pending[id]
	delete(m.pending, id)
	return next
}

// ignoreBefore sets the time before which an earlier akd has mirrored all
// events.
func (m *eventMirror) ignoreBefore(since time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.since = since
}

func (m *eventMirror) isOld(event *corev1.Event) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return lastSeen(event).Before(m.since)
}

// watch adds the events of a remote namespace until ctx ends.
func (m *eventMirror) watch(ctx context.Context, namespace *namespaces.Namespace) {
	src := m.remote.Events(namespace.Name, m.claim != nil)
	src.Each(ctx, func(ctx context.Context) {
		lw := cache.ToListWatcherWithWatchListSemantics(
			&cache.ListWatch{ListWithContextFunc: src.List, WatchFuncWithContext: src.Watch}, src.Client)
		cache.NewReflectorWithOptions(lw, &corev1.Event{}, &eventSink{mirror: m, namespace: namespace}, cache.ReflectorOptions{
			Name:    src.Name,
			Backoff: &wait.Backoff{Duration: time.Second, Cap: time.Minute, Steps: 7, Factor: 2, Jitter: 0.5},
		}).RunWithContext(ctx)
	})
}

func (m *eventMirror) mirror(ctx context.Context, next mirroredEvent) error {
	if next.event == nil {
		return nil // it happened again, and was mirrored with that
	}
	var event *corev1.Event
	if next.claim != nil {
		event = m.mapper.ClaimEvent(next.event, next.claim)
	} else {
		local := next.local
		if local == nil {
			local = m.localPod(next)
		}
		if local == nil {
			return nil
		}
		event = m.mapper.Event(next.event, local)
	}
	err := m.local.CreateEvent(ctx, event)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	return m.local.RepeatEvent(ctx, event)
}

// localPod returns the local pod whose remote pod the event is about. Either
// the remote pod still exists and names it, or the local pod records the remote
// one.
func (m *eventMirror) localPod(next mirroredEvent) *corev1.Pod {
	involved := next.event.InvolvedObject
	local := m.pod(next.namespace.Local, involved.Name)
	if local == nil {
		return nil
	}
	if remote := next.namespace.Pod(involved.Name); remote != nil && remote.UID == involved.UID {
		if remote.Labels[contract.LabelUID] == string(local.UID) {
			return local
		}
		return nil
	}
	if local.Annotations[contract.AnnotationRemoteUID] == string(involved.UID) {
		return local
	}
	return nil
}

// eventSink is the reflector's store of events; it stores none.
type eventSink struct {
	mirror    *eventMirror
	namespace *namespaces.Namespace
	newest    string // the highest resourceVersion seen; only the reflector's goroutine uses it
}

// Add implements cache.ReflectorStore.
func (s *eventSink) Add(obj any) error { return s.Update(obj) }

// Update implements cache.ReflectorStore.
func (s *eventSink) Update(obj any) error {
	event, ok := obj.(*corev1.Event)
	if !ok {
		return fmt.Errorf("watched a %T, want a *v1.Event", obj)
	}
	s.handOver(event)
	s.newest = event.ResourceVersion
	return nil
}

// Delete implements cache.ReflectorStore: events expire separately in each
// cluster.
func (s *eventSink) Delete(any) error { return nil }

// Replace implements cache.ReflectorStore. A restarted watch lists events that
// were seen before.
func (s *eventSink) Replace(list []any, resourceVersion string) error {
	for _, obj := range list {
		event, ok := obj.(*corev1.Event)
		if !ok {
			return fmt.Errorf("listed a %T, want a *v1.Event", obj)
		}
		if store.Newer(event.ResourceVersion, s.newest) {
			s.handOver(event)
		}
	}
	s.newest = resourceVersion
	return nil
}

// Resync implements cache.ReflectorStore.
func (s *eventSink) Resync() error { return nil }

func (s *eventSink) handOver(event *corev1.Event) {
	if s.mirror.isOld(event) || event.Reason == contract.ReasonScheduled {
		return
	}
	if !s.mirror.add(mirroredEvent{namespace: s.namespace, event: event}) {
		s.mirror.logger.Debug("too many remote events: one is not repeated", "event", event.Name)
	}
}

func lastSeen(event *corev1.Event) time.Time {
	switch {
	case event.Series != nil:
		return event.Series.LastObservedTime.Time
	case !event.LastTimestamp.IsZero():
		return event.LastTimestamp.Time
	case !event.EventTime.IsZero():
		return event.EventTime.Time
	}
	return event.CreationTimestamp.Time
}
