package translate

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// copied are the conditions of the remote kubelet that are also true of the local
// pod. Ready and PodScheduled are not.
var copied = [...]corev1.PodConditionType{ //nolint:gochecknoglobals // never written
	corev1.PodReadyToStartContainers,
	corev1.PodInitialized,
	corev1.ContainersReady,
	corev1.AllContainersRestarting,
	corev1.PodResizePending,
	corev1.PodResizeInProgress,
}

// merge sets the conditions.
func (m *merge) merge() {
	for _, kind := range copied {
		if from := condition(m.remote.Status.Conditions, kind); from != nil {
			m.copy(from)
		} else {
			m.drop(kind)
		}
	}
	m.ready()
	m.disruption()
	m.bound()
	m.scheduled()
	if have := condition(m.conditions, contract.ConditionRemoteCreated); have != nil && have.Status != corev1.ConditionTrue {
		m.set(corev1.PodCondition{
			Type:               contract.ConditionRemoteCreated,
			Status:             corev1.ConditionTrue,
			LastTransitionTime: m.remote.CreationTimestamp,
		})
	}
}

// ready combines the readiness of the remote pod with the readiness gates of the
// local pod, whose conditions exist in the local cluster only. The remote pod has
// no gates, so its Ready differs from ContainersReady only if its node is lost.
//
// A remote pod that somebody in the remote cluster deletes stops soon, and takes no
// new connections from then on: local EndpointSlices know of the deletion only by
// Ready, because the local pod has no deletion timestamp.
func (m *merge) ready() {
	if m.deleted() && !Finished(m.remote) {
		m.set(corev1.PodCondition{
			Type:               corev1.PodReady,
			Status:             corev1.ConditionFalse,
			Reason:             ReasonRemotePodDeleted,
			Message:            messageRemotePodDeleted,
			ObservedGeneration: m.generation(m.remote.Status.ObservedGeneration, m.observed(corev1.PodReady)),
		})
		return
	}
	base := condition(m.remote.Status.Conditions, corev1.PodReady)
	if base == nil || base.Status == corev1.ConditionTrue {
		containers := condition(m.remote.Status.Conditions, corev1.ContainersReady)
		if containers != nil && containers.Status != corev1.ConditionTrue {
			base = containers
		}
	}
	if base == nil {
		m.drop(corev1.PodReady)
		return
	}
	ready := *base
	ready.Type = corev1.PodReady
	if missing := m.gates(); ready.Status == corev1.ConditionTrue && missing != "" {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, reasonGatesNotReady, missing
		ready.LastTransitionTime = metav1.Time{}
	}
	m.copy(&ready)
}

// gates returns which local readiness gates are not open, in the words of a
// kubelet.
func (m *merge) gates() string {
	var closed []string
	for _, gate := range m.local.Spec.ReadinessGates {
		have := condition(m.local.Status.Conditions, gate.ConditionType)
		switch {
		case have == nil:
			closed = append(closed, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		case have.Status != corev1.ConditionTrue:
			closed = append(closed, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, have.Status))
		}
	}
	return strings.Join(closed, ", ")
}

// disruption reports an eviction, preemption or deletion in the remote cluster,
// unless the local cluster has already reported its own. It withdraws the report of
// one that did not happen, which the remote cluster sets to False after two minutes.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/disruption/disruption.go (syncStalePodDisruption)
func (m *merge) disruption() {
	have := condition(m.conditions, corev1.DisruptionTarget)
	from := condition(m.remote.Status.Conditions, corev1.DisruptionTarget)
	withdrawn := have != nil && from != nil && from.Status == corev1.ConditionFalse && have.LastTransitionTime.Before(&from.LastTransitionTime)
	switch {
	case have != nil && have.Status == corev1.ConditionTrue && !withdrawn:
	case from != nil:
		m.copy(from)
	case m.deleted():
		m.set(disruptionTarget(m.local.Generation))
	}
}

// disruptionTarget lets the podFailurePolicy of a Job distinguish the loss of the
// remote pod from a failure of the program.
func disruptionTarget(generation int64) corev1.PodCondition {
	return corev1.PodCondition{
		Type:               corev1.DisruptionTarget,
		Status:             corev1.ConditionTrue,
		Reason:             ReasonRemotePodDeleted,
		Message:            messageRemotePodDeleted,
		ObservedGeneration: generation,
	}
}

// bound reports that the pod has a node, as a kubelet does. The local scheduler has
// usually said so; nobody has if the creator of the pod chose the node.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/kubelet_pods.go (generateAPIPodStatus)
func (m *merge) bound() {
	if have := condition(m.conditions, corev1.PodScheduled); have == nil || have.Status != corev1.ConditionTrue {
		m.set(corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, ObservedGeneration: m.local.Generation})
	}
}

func (m *merge) scheduled() {
	scheduled := corev1.PodCondition{Type: contract.ConditionRemoteScheduled, Status: corev1.ConditionTrue}
	from := condition(m.remote.Status.Conditions, corev1.PodScheduled)
	switch {
	case from != nil:
		scheduled.Status, scheduled.Reason, scheduled.Message = from.Status, from.Reason, m.text(from.Message)
		scheduled.LastTransitionTime = from.LastTransitionTime
	case m.remote.Spec.NodeName == "":
		m.drop(contract.ConditionRemoteScheduled)
		return
	}
	m.set(scheduled)
}

// copy copies a condition of the remote pod.
func (m *merge) copy(from *corev1.PodCondition) {
	to := *from
	to.Message = m.text(from.Message)
	to.ObservedGeneration = m.generation(from.ObservedGeneration, m.observed(from.Type))
	m.set(to)
}

// observed returns the generation that a condition of the local pod refers to.
func (m *merge) observed(kind corev1.PodConditionType) int64 {
	if have := condition(m.conditions, kind); have != nil {
		return have.ObservedGeneration
	}
	return 0
}

func (m *merge) set(to corev1.PodCondition) {
	m.conditions = setCondition(m.conditions, to, m.now)
}

// drop removes a condition that the remote pod no longer has.
func (m *merge) drop(kind corev1.PodConditionType) {
	m.conditions = slices.DeleteFunc(m.conditions, func(c corev1.PodCondition) bool { return c.Type == kind })
}

func condition(conditions []corev1.PodCondition, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range conditions {
		if conditions[i].Type == kind {
			return &conditions[i]
		}
	}
	return nil
}

// setCondition replaces or adds a condition in conditions, which it modifies. The
// transition time changes only with the status.
func setCondition(conditions []corev1.PodCondition, to corev1.PodCondition, now metav1.Time) []corev1.PodCondition {
	if to.LastTransitionTime.IsZero() {
		to.LastTransitionTime = now
	}
	have := condition(conditions, to.Type)
	if have == nil {
		return append(conditions, to)
	}
	if have.Status == to.Status {
		to.LastTransitionTime = have.LastTransitionTime
	}
	*have = to
	return conditions
}
