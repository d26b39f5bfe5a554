package cluster

import (
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// CreateEvent creates an event. AlreadyExists means that the event has occurred
// before.
func (c *Local) CreateEvent(ctx context.Context, event *corev1.Event) error {
	_, err := c.client.CoreV1().Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create local event %s/%s: %w", event.Namespace, event.Name, err)
	}
	return nil
}

// RepeatEvent updates the fields that change when an event occurs again.
func (c *Local) RepeatEvent(ctx context.Context, event *corev1.Event) error {
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

// Recorder records akd's own events about local objects.
type Recorder struct {
	record.EventRecorder

	broadcaster record.EventBroadcaster
	sink        record.EventSink
}

// NewRecorder returns a recorder. Run writes its events.
func NewRecorder(local *Local) *Recorder {
	broadcaster := record.NewBroadcaster()
	return &Recorder{
		EventRecorder: broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: contract.UserAgent, Host: local.node}),
		broadcaster:   broadcaster,
		sink:          &typedcorev1.EventSinkImpl{Interface: local.client.CoreV1().Events(metav1.NamespaceAll)},
	}
}

// Run writes the events until ctx ends.
func (r *Recorder) Run(ctx context.Context) {
	writing := r.broadcaster.StartRecordingToSink(r.sink)
	<-ctx.Done()
	writing.Stop()
	r.broadcaster.Shutdown()
}
