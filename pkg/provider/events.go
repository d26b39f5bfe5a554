package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

const (
	// A kubelet's own limits on events (eventRecordQPS, eventBurst).
	eventQPS   = 50
	eventBurst = 100
	// eventBacklog bounds what waits for them; what comes on top is dropped.
	eventBacklog = 4096
	// eventDelay lets what somebody waits for go first: a kubelet tells three
	// events while it starts a container, and the status is what makes the pod
	// Running. What happens again within it is repeated once.
	eventDelay = 250 * time.Millisecond
	// scheduled is the reason of an event that is not repeated: the local
	// scheduler has said it of the local pod, once as for every pod, and where
	// the remote pod runs is in the local pod's annotations.
	scheduled = "Scheduled"
)

// eventMirror repeats what the remote cluster says about a pod on the local
// pod. Events are best effort in Kubernetes, and so they are here: a write is
// not retried, and what happened before since is not repeated.
type eventMirror struct {
	mapper *translate.Mapper
	local  *localCluster
	pod    func(namespace, name string) *corev1.Pod // the local pod, or nil
	since  time.Time                                // an earlier akd mirrored what is older
	logger *slog.Logger

	queue workqueue.TypedDelayingInterface[types.NamespacedName] // of remote events

	mu      sync.Mutex
	pending map[types.NamespacedName]mirroredEvent // what waits in the queue, as it is now
}

// mirroredEvent is a remote event that is to be repeated.
type mirroredEvent struct {
	space *space
	event *corev1.Event
	// local is the pod that it is about, as it was when the event came: it may
	// be gone when its turn has come. It is nil where the pod was not known then.
	local *corev1.Pod
}

func newEventMirror(mapper *translate.Mapper, local *localCluster, pods *objects[*corev1.Pod], logger *slog.Logger) *eventMirror {
	return &eventMirror{
		mapper: mapper, local: local, pod: pods.get, logger: logger,
		queue: workqueue.NewTypedDelayingQueue[types.NamespacedName](), pending: map[types.NamespacedName]mirroredEvent{},
	}
}

// run writes the events that follow hands over, until ctx ends.
func (m *eventMirror) run(ctx context.Context) {
	defer context.AfterFunc(ctx, m.queue.ShutDown)()
	limit := flowcontrol.NewTokenBucketRateLimiter(eventQPS, eventBurst)
	for {
		id, shutdown := m.queue.Get()
		if shutdown || limit.Wait(ctx) != nil {
			return
		}
		if err := m.mirror(ctx, m.take(id)); err != nil {
			m.logger.Debug("remote event not repeated", "error", err)
		}
		m.queue.Done(id)
	}
}

// add puts an event into the queue, or in the place that it has there already.
// It is false when too many wait.
func (m *eventMirror) add(next mirroredEvent) bool {
	id := types.NamespacedName{Namespace: next.event.Namespace, Name: next.event.Name}
	next.local = m.about(next)
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

func (m *eventMirror) take(id types.NamespacedName) mirroredEvent {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.pending[id]
	delete(m.pending, id)
	return next
}

// follow watches the events of a space until ctx ends.
func (m *eventMirror) follow(ctx context.Context, space *space, src source) {
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{ListWithContextFunc: src.list, WatchFuncWithContext: src.watch}, src.client)
	cache.NewReflectorWithOptions(lw, &corev1.Event{}, &eventSink{mirror: m, space: space}, cache.ReflectorOptions{
		Name:    src.name,
		Backoff: &wait.Backoff{Duration: time.Second, Cap: time.Minute, Steps: 7, Factor: 2, Jitter: 0.5},
	}).RunWithContext(ctx)
}

func (m *eventMirror) mirror(ctx context.Context, next mirroredEvent) error {
	if next.event == nil {
		return nil // it happened again, and was repeated with that
	}
	local := next.local
	if local == nil {
		local = m.about(next)
	}
	if local == nil {
		return nil
	}
	event := m.mapper.Event(next.event, local)
	err := m.local.createEvent(ctx, event)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	return m.local.repeatEvent(ctx, event)
}

// about returns the local pod whose remote pod the event is about. Either the
// remote pod is still there and names it, or the local pod remembers the
// remote one.
func (m *eventMirror) about(next mirroredEvent) *corev1.Pod {
	involved := next.event.InvolvedObject
	local := m.pod(next.space.local, involved.Name)
	if local == nil {
		return nil
	}
	if remote := next.space.pod(involved.Name); remote != nil && remote.UID == involved.UID {
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

// eventSink is the reflector's store of events, which stores none.
type eventSink struct {
	mirror *eventMirror
	space  *space
	newest string // the highest resourceVersion seen; only the reflector's goroutine uses it
}

// Add implements cache.ReflectorStore.
func (s *eventSink) Add(obj any) error { return s.Update(obj) }

// Update implements cache.ReflectorStore.
func (s *eventSink) Update(obj any) error {
	event, ok := obj.(*corev1.Event)
	if !ok {
		return fmt.Errorf("watched a %T, want a *v1.Event", obj)
	}
	s.hand(event)
	s.newest = event.ResourceVersion
	return nil
}

// Delete implements cache.ReflectorStore: events expire in each cluster by themselves.
func (s *eventSink) Delete(any) error { return nil }

// Replace implements cache.ReflectorStore. A watch that starts anew lists what
// was seen before.
func (s *eventSink) Replace(list []any, resourceVersion string) error {
	for _, obj := range list {
		event, ok := obj.(*corev1.Event)
		if !ok {
			return fmt.Errorf("listed a %T, want a *v1.Event", obj)
		}
		if newer(event.ResourceVersion, s.newest) {
			s.hand(event)
		}
	}
	s.newest = resourceVersion
	return nil
}

// Resync implements cache.ReflectorStore.
func (s *eventSink) Resync() error { return nil }

func (s *eventSink) hand(event *corev1.Event) {
	if lastSeen(event).Before(s.mirror.since) || event.Reason == scheduled {
		return
	}
	if !s.mirror.add(mirroredEvent{space: s.space, event: event}) {
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

func (c *localCluster) createEvent(ctx context.Context, event *corev1.Event) error {
	_, err := c.client.CoreV1().Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create local event %s/%s: %w", event.Namespace, event.Name, err)
	}
	return nil
}

// repeatEvent updates what changes when an event happens again.
func (c *localCluster) repeatEvent(ctx context.Context, event *corev1.Event) error {
	patch, err := json.Marshal(map[string]any{
		"count": event.Count, "lastTimestamp": event.LastTimestamp, "message": event.Message, "series": event.Series,
	})
	if err != nil {
		return fmt.Errorf("patch local event %s/%s: %w", event.Namespace, event.Name, err)
	}
	_, err = c.client.CoreV1().Events(event.Namespace).
		Patch(ctx, event.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("patch local event %s/%s: %w", event.Namespace, event.Name, err)
	}
	return nil
}
