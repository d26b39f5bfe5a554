package translate

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// annotationRefusal is an annotation that only cached pods have: the reason and
// the message of the refusal of a pod that exceeds the bounds.
const annotationRefusal = contract.Domain + "refusal"

// TrimLocal removes most of the spec of a local pod that has ended, or that is
// refused because it exceeds the bounds: a pod of 1.5 MiB, which anybody may create
// many of, takes four times as much decoded. Next, Status and Pod return the same
// for what is left.
func (m *Mapper) TrimLocal(pod *corev1.Pod) {
	delete(pod.Annotations, annotationRefusal)
	if Finished(pod) {
		trimLocal(pod)
		return
	}
	if pod.Status.StartTime != nil {
		return
	}
	if refusal := m.exceeded(collect(pod)); refusal != nil {
		trimLocal(pod)
		if pod.Annotations == nil {
			pod.Annotations = map[string]string{}
		}
		pod.Annotations[annotationRefusal] = refusal.Reason + " " + refusal.Message
	}
}

// trimLocal keeps what identifies the containers.
func trimLocal(pod *corev1.Pod) {
	delete(pod.Annotations, corev1.LastAppliedConfigAnnotation)
	spec := &pod.Spec
	pod.Spec = corev1.PodSpec{
		NodeName:            spec.NodeName,
		InitContainers:      trimContainers(spec.InitContainers),
		Containers:          trimContainers(spec.Containers),
		EphemeralContainers: trimEphemeral(spec.EphemeralContainers),
		RestartPolicy:       spec.RestartPolicy,
		HostNetwork:         spec.HostNetwork,
		ReadinessGates:      spec.ReadinessGates,
		ServiceAccountName:  spec.ServiceAccountName,
		Priority:            spec.Priority,
	}
}

// trimmedRefusal returns why TrimLocal trimmed a pod that has not ended, or nil.
func trimmedRefusal(pod *corev1.Pod) *Refusal {
	reason, message, found := strings.Cut(pod.Annotations[annotationRefusal], " ")
	if !found {
		return nil
	}
	return &Refusal{reason, message}
}
