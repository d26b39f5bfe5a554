package translate

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// maxEventMessage is how many bytes the API accepts in the message of an event that has
// an eventTime, as those of schedulers have.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/apis/core/validation/events.go (NoteLengthLimit)
const maxEventMessage = 1024

// shorten returns a text of at most limit bytes. Local names may be longer than those
// that they replace.
func shorten(text string, limit int) string {
	const more = "…"
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len(more)], "") + more
}

// Event returns the local copy of an event about the remote pod of a local pod. Its
// name is derived from the remote event, so that later changes of the same event
// update the copy. Count and times are kept.
func (m *Mapper) Event(remote *corev1.Event, local *corev1.Pod) *corev1.Event {
	text := m.names(local, remote.InvolvedObject.UID)
	return m.repeated(remote, text.translate(remote.Message), corev1.ObjectReference{
		APIVersion: "v1",
		Kind:       "Pod",
		Namespace:  local.Namespace,
		Name:       local.Name,
		UID:        local.UID,
		FieldPath:  remote.InvolvedObject.FieldPath,
	})
}

// ClaimEvent returns the local copy of an event about the remote claim of a local one; see
// Event.
func (m *Mapper) ClaimEvent(remote *corev1.Event, local *corev1.PersistentVolumeClaim) *corev1.Event {
	return m.repeated(remote, m.claimText(local, nil, remote.Message), corev1.ObjectReference{
		APIVersion: "v1",
		Kind:       kindClaim,
		Namespace:  local.Namespace,
		Name:       local.Name,
		UID:        local.UID,
	})
}

// repeated returns the copy of a remote event about a local object.
func (m *Mapper) repeated(remote *corev1.Event, message string, about corev1.ObjectReference) *corev1.Event {
	event := remote.DeepCopy()
	event.TypeMeta = metav1.TypeMeta{}
	event.ObjectMeta = metav1.ObjectMeta{
		Name:      contract.EventName(about.Name, remote.Namespace+"/"+remote.Name),
		Namespace: about.Namespace,
	}
	event.InvolvedObject = about
	event.Message = shorten(message, maxEventMessage)
	event.Related = nil // an object of the remote cluster
	if event.Source.Host != "" {
		event.Source.Host = m.Node
	}
	if event.ReportingInstance != "" {
		event.ReportingInstance = m.Node
	}
	return event
}
