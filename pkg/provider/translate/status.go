package translate

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Reasons of a kubelet, which other programs compare with.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/status/generate.go
const (
	reasonGatesNotReady       = "ReadinessGatesNotReady"
	reasonPodFailed           = "PodFailed"
	reasonStatusUnknown       = "ContainerStatusUnknown"
	exitCodeKilled      int32 = 137 // 128 + SIGKILL, which a kubelet reports for a lost container
)

// Status returns the status of the local pod: that of the remote pod, merged with
// what only the local cluster knows. If the remote pod is not that of the local
// pod, or if the local pod is finished, it is the local status unchanged. Status
// does not modify its arguments; the result may share memory with them, so do not
// modify it either.
func (m *Mapper) Status(local, remote *corev1.Pod, now metav1.Time) *corev1.PodStatus {
	status := local.Status
	if Finished(local) || !m.OwnsPodFor(remote, local) {
		return &status
	}
	merged := m.newMerge(local, remote, now)
	from := &remote.Status
	status.Phase = from.Phase
	if status.Phase == "" {
		status.Phase = corev1.PodPending
	}
	status.Reason, status.Message = from.Reason, merged.text(from.Message)
	status.HostIP, status.HostIPs = from.HostIP, from.HostIPs
	status.PodIP, status.PodIPs = from.PodIP, from.PodIPs
	status.StartTime = startTime(local, remote, now)
	status.InitContainerStatuses = merged.containers(from.InitContainerStatuses)
	status.ContainerStatuses = merged.containers(from.ContainerStatuses)
	status.EphemeralContainerStatuses = append(merged.containers(from.EphemeralContainerStatuses), merged.refused()...)
	status.Resize = from.Resize
	status.AllocatedResources, status.Resources = from.AllocatedResources, from.Resources
	status.VolumeHealth = merged.volumeHealth(from.VolumeHealth)
	status.ObservedGeneration = merged.generation(from.ObservedGeneration, status.ObservedGeneration)
	merged.merge()
	status.Conditions = merged.conditions
	switch {
	case merged.lost():
		with := *local
		with.Status = status
		if local.DeletionTimestamp != nil {
			return m.FailedStatus(&with, ReasonRemotePodEnded, messageRemotePodEnded, now)
		}
		return m.FailedStatus(&with, ReasonRemotePodDeleted, messageRemotePodLost, now)
	case merged.deleted() && merged.failed():
		status.Phase = corev1.PodFailed
		if status.Reason == "" || status.Reason == ReasonRemotePodEnded {
			status.Reason, status.Message = ReasonRemotePodDeleted, messageRemotePodDeleted
		}
	}
	return &status
}

// startTime is when akd first observed the remote pod. It marks the local pod as
// started, and never changes.
func startTime(local, remote *corev1.Pod, now metav1.Time) *metav1.Time {
	switch {
	case local.Status.StartTime != nil:
		return local.Status.StartTime
	case remote.Status.StartTime != nil:
		return remote.Status.StartTime
	case !remote.CreationTimestamp.IsZero():
		return &remote.CreationTimestamp
	}
	return &now
}

// merge merges one remote status into a local one.
type merge struct {
	mapper        *Mapper
	local, remote *corev1.Pod
	now           metav1.Time
	settled       bool            // the remote pod is up to date with the local one
	has           map[string]bool // containers of the local pod
	texts         names
	conditions    []corev1.PodCondition
}

func (m *Mapper) newMerge(local, remote *corev1.Pod, now metav1.Time) *merge {
	return &merge{
		mapper:     m,
		local:      local,
		remote:     remote,
		now:        now,
		settled:    m.upToDate(local, remote),
		has:        containerNames(&local.Spec),
		texts:      m.names(local, remote.UID),
		conditions: slices.Clone(local.Status.Conditions),
	}
}

func containerNames(spec *corev1.PodSpec) map[string]bool {
	names := make(map[string]bool, len(spec.Containers)+len(spec.InitContainers)+len(spec.EphemeralContainers))
	for i := range spec.InitContainers {
		names[spec.InitContainers[i].Name] = true
	}
	for i := range spec.Containers {
		names[spec.Containers[i].Name] = true
	}
	for i := range spec.EphemeralContainers {
		names[spec.EphemeralContainers[i].Name] = true
	}
	return names
}

func (m *merge) text(remote string) string { return m.texts.translate(remote) }

// deleted reports whether somebody other than the owner deleted the remote pod.
func (m *merge) deleted() bool {
	return m.remote.DeletionTimestamp != nil && m.local.DeletionTimestamp == nil
}

// failed reports whether the end of the remote pod is a failure. Its containers may
// have exited with 0 when it was deleted, but a pod with restart policy Always has
// not succeeded then.
func (m *merge) failed() bool {
	always := m.local.Spec.RestartPolicy == corev1.RestartPolicyAlways
	return m.remote.Status.Phase == corev1.PodFailed || always && m.remote.Status.Phase == corev1.PodSucceeded
}

// lost reports whether a deleted remote pod should have ended long ago: its node
// does not respond, and nobody knows when it will. A local controller that
// replaces the pod must not wait for that. Neither must the owner who deletes the
// pod, once somebody in the remote cluster has given it up.
func (m *merge) lost() bool {
	return (m.deleted() || forced(m.remote)) && !Finished(m.remote) && !m.now.Time.Before(lostAt(m.remote))
}

// lostAt is when a deleted remote pod counts as lost. Its deletion timestamp is
// the end of its grace period.
func lostAt(remote *corev1.Pod) time.Time { return remote.DeletionTimestamp.Add(lostAfter) }

// lostAfter is the time for a kubelet to clean up after the grace period, and for
// clocks to differ.
const lostAfter = time.Minute

// generation returns the local generation once the remote kubelet has observed
// everything in it, and before otherwise. It stays unchanged for a kubelet that
// does not report generations.
func (m *merge) generation(observed, before int64) int64 {
	if m.settled && observed != 0 && observed >= m.remote.Generation {
		return m.local.Generation
	}
	return before
}

// containers returns the statuses of the containers that the local pod has: a
// webhook in the remote cluster may have added others.
func (m *merge) containers(remote []corev1.ContainerStatus) []corev1.ContainerStatus {
	var kept []corev1.ContainerStatus
	for i := range remote {
		if !m.has[remote[i].Name] {
			continue
		}
		status := remote[i]
		m.state(&status.State)
		m.state(&status.LastTerminationState)
		kept = append(kept, status)
	}
	return kept
}

// refused returns what a kubelet reports for a container that it cannot start, for
// the ephemeral containers that Update leaves out.
func (m *merge) refused() []corev1.ContainerStatus {
	var refused []corev1.ContainerStatus
	reasons := m.mapper.refusedEphemeral(m.local)
	for i := range m.local.Spec.EphemeralContainers {
		container := &m.local.Spec.EphemeralContainers[i]
		if hasEphemeral(m.remote, container.Name) {
			continue
		}
		if why := reasons[container.Name]; why != nil {
			refused = append(refused, corev1.ContainerStatus{
				Name: container.Name, Image: container.Image,
				State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: why.Reason, Message: why.Message}},
			})
		}
	}
	return refused
}

// state translates the message of a state, in a copy of it.
func (m *merge) state(state *corev1.ContainerState) {
	if waiting := state.Waiting; waiting != nil {
		if text := m.text(waiting.Message); text != waiting.Message {
			state.Waiting = &corev1.ContainerStateWaiting{Reason: waiting.Reason, Message: text}
		}
	}
	if ended := state.Terminated; ended != nil && ended.Reason == reasonContainerCannotRun {
		if text := m.text(ended.Message); text != ended.Message {
			terminated := *ended
			terminated.Message = text
			state.Terminated = &terminated
		}
	}
}

// reasonContainerCannotRun marks a message of the runtime. Other messages come from
// the termination log of the container, and stay unchanged.
const reasonContainerCannotRun = "ContainerCannotRun"

func (m *merge) volumeHealth(remote []corev1.PodVolumeHealth) []corev1.PodVolumeHealth {
	var kept []corev1.PodVolumeHealth
	for i := range remote {
		if slices.ContainsFunc(m.local.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == remote[i].Name }) {
			kept = append(kept, remote[i])
		}
	}
	return kept
}

// FailedStatus returns the final status of a local pod that fails for the given
// reason. None of its containers run any more.
func (m *Mapper) FailedStatus(local *corev1.Pod, reason, message string, now metav1.Time) *corev1.PodStatus {
	status := local.Status.DeepCopy()
	if Finished(local) {
		return status
	}
	status.Phase, status.Reason, status.Message = corev1.PodFailed, reason, message
	status.InitContainerStatuses = lost(status.InitContainerStatuses, func(c *corev1.ContainerStatus) bool { return c.State.Running != nil })
	initialized := condition(status.Conditions, corev1.PodInitialized)
	status.ContainerStatuses = lost(status.ContainerStatuses, func(c *corev1.ContainerStatus) bool {
		return c.State.Running != nil || initialized != nil && initialized.Status == corev1.ConditionTrue
	})
	status.EphemeralContainerStatuses = lost(status.EphemeralContainerStatuses,
		func(c *corev1.ContainerStatus) bool { return c.State.Running != nil })
	for _, kind := range []corev1.PodConditionType{corev1.PodReady, corev1.ContainersReady} {
		status.Conditions = setCondition(status.Conditions, corev1.PodCondition{
			Type: kind, Status: corev1.ConditionFalse, Reason: reasonPodFailed, ObservedGeneration: local.Generation,
		}, now)
	}
	if reason == ReasonRemotePodDeleted && condition(status.Conditions, corev1.DisruptionTarget) == nil {
		status.Conditions = setCondition(status.Conditions, disruptionTarget(local.Generation), now)
	}
	return status
}

// lost marks containers as terminated, as a kubelet does with containers that it
// no longer finds.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/status/status_manager.go (TerminatePod)
func lost(statuses []corev1.ContainerStatus, ran func(*corev1.ContainerStatus) bool) []corev1.ContainerStatus {
	for i := range statuses {
		status := &statuses[i]
		if status.State.Terminated != nil || !ran(status) {
			continue
		}
		ended := &corev1.ContainerStateTerminated{
			Reason: reasonStatusUnknown, ExitCode: exitCodeKilled, ContainerID: status.ContainerID,
			Message: "The container could not be located because the remote pod no longer exists",
		}
		if status.State.Running != nil {
			ended.StartedAt = status.State.Running.StartedAt
		}
		status.State = corev1.ContainerState{Terminated: ended}
		status.Ready = false
		status.Started = new(bool)
	}
	return statuses
}

// PendingStatus returns the status of a local pod whose remote pod cannot be
// created yet.
func (m *Mapper) PendingStatus(local *corev1.Pod, reason, message string, now metav1.Time) *corev1.PodStatus {
	status := local.Status.DeepCopy()
	if Finished(local) {
		return status
	}
	if status.Phase == "" {
		status.Phase = corev1.PodPending
	}
	status.Conditions = setCondition(status.Conditions, corev1.PodCondition{
		Type: contract.ConditionRemoteCreated, Status: corev1.ConditionFalse, Reason: reason, Message: message,
	}, now)
	return status
}

// Annotations returns the annotations of the local pod that name its remote pod.
// They are written in the same patch as the status.
func (m *Mapper) Annotations(local, remote *corev1.Pod) map[string]string {
	if !m.OwnsPodFor(remote, local) {
		return nil
	}
	annotations := map[string]string{
		contract.AnnotationRemoteNamespace: remote.Namespace,
		contract.AnnotationRemoteUID:       string(remote.UID),
	}
	if remote.Spec.NodeName != "" {
		annotations[contract.AnnotationRemoteNode] = remote.Spec.NodeName
	}
	return annotations
}
