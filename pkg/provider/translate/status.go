package translate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// Conditions of local pods that are ours.
const (
	// ConditionRemoteScheduled tells whether the remote scheduler found a node.
	// It stands apart from PodScheduled: an autoscaler of the local cluster
	// would add nodes for an Unschedulable there.
	ConditionRemoteScheduled corev1.PodConditionType = "actual.vk/RemoteScheduled"
	// ConditionRemoteCreated is False, with the remote API server's own words,
	// while a remote pod cannot be created.
	ConditionRemoteCreated corev1.PodConditionType = "actual.vk/RemoteCreated"
)

// Reasons and words that a kubelet uses too, and that others compare with.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/status/generate.go
const (
	reasonGatesNotReady       = "ReadinessGatesNotReady"
	reasonPodFailed           = "PodFailed"
	reasonStatusUnknown       = "ContainerStatusUnknown"
	exitCodeKilled      int32 = 137 // 128 + SIGKILL, a kubelet's code for a lost container
)

// copied are the conditions that the remote kubelet writes and that hold for
// the local pod too. Ready and PodScheduled are not among them.
var copied = [...]corev1.PodConditionType{
	corev1.PodReadyToStartContainers,
	corev1.PodInitialized,
	corev1.ContainersReady,
	corev1.AllContainersRestarting,
	corev1.PodResizePending,
	corev1.PodResizeInProgress,
}

// Status returns the local pod's status as the remote pod has it, with what is
// local kept. Arguments are not changed; the result may share memory with them
// and is not to be changed either. Without a remote pod of this very local pod,
// and once the local pod is finished, it is the local status as it is.
func (s *Site) Status(local, remote *corev1.Pod, now metav1.Time) *corev1.PodStatus {
	status := local.Status
	if finished(local) || !s.isFor(remote, local) {
		return &status
	}
	m := s.newMerge(local, remote, now)
	from := &remote.Status
	status.Phase = from.Phase
	if status.Phase == "" {
		status.Phase = corev1.PodPending
	}
	status.Reason, status.Message = from.Reason, m.text(from.Message)
	status.HostIP, status.HostIPs = from.HostIP, from.HostIPs
	status.PodIP, status.PodIPs = from.PodIP, from.PodIPs
	status.StartTime = startTime(local, remote, now)
	status.InitContainerStatuses = m.containers(from.InitContainerStatuses)
	status.ContainerStatuses = m.containers(from.ContainerStatuses)
	status.EphemeralContainerStatuses = m.containers(from.EphemeralContainerStatuses)
	status.Resize = from.Resize
	status.AllocatedResources, status.Resources = from.AllocatedResources, from.Resources
	status.VolumeHealth = m.volumeHealth(from.VolumeHealth)
	status.ObservedGeneration = m.generation(from.ObservedGeneration, status.ObservedGeneration)
	m.merge()
	status.Conditions = m.conditions
	switch {
	case m.lost():
		with := *local
		with.Status = status
		return s.FailedStatus(&with, ReasonRemotePodDeleted, messageRemotePodLost, now)
	case m.deleted() && m.failed():
		status.Phase = corev1.PodFailed
		if status.Reason == "" {
			status.Reason, status.Message = ReasonRemotePodDeleted, messageRemotePodDeleted
		}
	}
	return &status
}

// startTime is when the pod was first seen to be there remotely. It marks the
// local pod as started, and never changes.
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

// merge is one merging of a remote status into a local one.
type merge struct {
	site          *Site
	local, remote *corev1.Pod
	now           metav1.Time
	settled       bool            // the remote pod has all that the local one says
	has           map[string]bool // containers of the local pod
	texts         names
	conditions    []corev1.PodCondition
}

func (s *Site) newMerge(local, remote *corev1.Pod, now metav1.Time) *merge {
	return &merge{
		site: s, local: local, remote: remote,
		now:        *now.DeepCopy(),
		settled:    s.upToDate(local, remote),
		has:        containerNames(&local.Spec),
		texts:      s.names(local, remote.UID),
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

// deleted reports whether somebody deleted the remote pod, and not its owner.
func (m *merge) deleted() bool { return deletedRemotely(m.local, m.remote) }

func deletedRemotely(local, remote *corev1.Pod) bool {
	return remote.DeletionTimestamp != nil && local.DeletionTimestamp == nil
}

// failed reports whether the remote pod's end is a failure. Its containers may
// well have exited with 0 when it was deleted, but a pod that is to run always
// has not succeeded by that.
func (m *merge) failed() bool {
	always := m.local.Spec.RestartPolicy == corev1.RestartPolicyAlways
	return m.remote.Status.Phase == corev1.PodFailed || always && m.remote.Status.Phase == corev1.PodSucceeded
}

// lost reports whether a deleted remote pod should have ended long ago: its
// node does not answer, and nobody knows when it will. A local controller must
// not wait for that to replace the pod.
func (m *merge) lost() bool {
	return m.deleted() && !finished(m.remote) && !m.now.Time.Before(lostAt(m.remote))
}

// lostAt is when a deleted remote pod counts as lost. Its deletion timestamp is
// the end of its grace period.
func lostAt(remote *corev1.Pod) time.Time { return remote.DeletionTimestamp.Add(lostAfter) }

// lostAfter leaves a kubelet the time to clean up after the grace period, and
// the clocks some difference.
const lostAfter = time.Minute

// generation returns the local generation once the remote kubelet has observed
// the one that carries everything of it, and what it was before until then.
// A kubelet that does not report generations leaves it as it is.
func (m *merge) generation(observed, before int64) int64 {
	if m.settled && observed != 0 && observed >= m.remote.Generation {
		return m.local.Generation
	}
	return before
}

// containers returns the statuses of the containers that the local pod has;
// a remote webhook may have added some of its own.
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

// reasonContainerCannotRun marks a message of the runtime. Others are the
// container's own, from its termination log, and stay as they are.
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

// merge fills in the conditions.
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
	m.scheduled()
	if have := condition(m.conditions, ConditionRemoteCreated); have != nil && have.Status != corev1.ConditionTrue {
		m.set(corev1.PodCondition{Type: ConditionRemoteCreated, Status: corev1.ConditionTrue, LastTransitionTime: m.remote.CreationTimestamp})
	}
}

// ready is the remote pod's readiness and the readiness gates of the local pod,
// whose conditions only the local cluster has. The remote pod has no gates, so
// that its Ready differs from ContainersReady only when its node is lost.
func (m *merge) ready() {
	base := condition(m.remote.Status.Conditions, corev1.PodReady)
	if base == nil || base.Status == corev1.ConditionTrue {
		if containers := condition(m.remote.Status.Conditions, corev1.ContainersReady); containers != nil && containers.Status != corev1.ConditionTrue {
			base = containers
		}
	}
	if base == nil {
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

// gates says which local readiness gates are closed, in a kubelet's words.
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

// disruption tells of an eviction, preemption or deletion in the remote cluster,
// unless the local cluster has already told of its own.
func (m *merge) disruption() {
	have := condition(m.conditions, corev1.DisruptionTarget)
	from := condition(m.remote.Status.Conditions, corev1.DisruptionTarget)
	switch {
	case have != nil && have.Status == corev1.ConditionTrue:
	case from != nil:
		m.copy(from)
	case m.deleted():
		m.set(disruptionTarget(m.local.Generation))
	}
}

// disruptionTarget lets a Job's podFailurePolicy tell the loss of the remote pod
// from a failure of the program.
func disruptionTarget(generation int64) corev1.PodCondition {
	return corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
		Reason: ReasonRemotePodDeleted, Message: messageRemotePodDeleted, ObservedGeneration: generation,
	}
}

func (m *merge) scheduled() {
	told := corev1.PodCondition{Type: ConditionRemoteScheduled, Status: corev1.ConditionTrue}
	from := condition(m.remote.Status.Conditions, corev1.PodScheduled)
	switch {
	case from != nil:
		told.Status, told.Reason, told.Message = from.Status, from.Reason, m.text(from.Message)
		told.LastTransitionTime = from.LastTransitionTime
	case m.remote.Spec.NodeName == "":
		return
	}
	m.set(told)
}

// copy takes over a condition of the remote pod.
func (m *merge) copy(from *corev1.PodCondition) {
	to := *from
	to.Message = m.text(from.Message)
	var before int64
	if have := condition(m.conditions, from.Type); have != nil {
		before = have.ObservedGeneration
	}
	to.ObservedGeneration = m.generation(from.ObservedGeneration, before)
	m.set(to)
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

// setCondition replaces or adds a condition in conditions, which is changed.
// Its transition time changes with its status only.
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

// FailedStatus returns the status of a local pod that ends with that reason: no
// container of it runs any more. It is final.
func (s *Site) FailedStatus(local *corev1.Pod, reason, message string, now metav1.Time) *corev1.PodStatus {
	status := local.Status.DeepCopy()
	if finished(local) {
		return status
	}
	status.Phase, status.Reason, status.Message = corev1.PodFailed, reason, message
	status.InitContainerStatuses = lost(status.InitContainerStatuses, func(c *corev1.ContainerStatus) bool { return c.State.Running != nil })
	initialized := condition(status.Conditions, corev1.PodInitialized)
	status.ContainerStatuses = lost(status.ContainerStatuses, func(c *corev1.ContainerStatus) bool {
		return c.State.Running != nil || initialized != nil && initialized.Status == corev1.ConditionTrue
	})
	status.EphemeralContainerStatuses = lost(status.EphemeralContainerStatuses, func(c *corev1.ContainerStatus) bool { return c.State.Running != nil })
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

// lost makes containers terminated as a kubelet does with containers that it
// finds no more.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/status/status_manager.go (TerminatePod)
func lost(statuses []corev1.ContainerStatus, ran func(*corev1.ContainerStatus) bool) []corev1.ContainerStatus {
	for i := range statuses {
		status := &statuses[i]
		if status.State.Terminated != nil || !ran(status) {
			continue
		}
		ended := &corev1.ContainerStateTerminated{
			Reason: reasonStatusUnknown, ExitCode: exitCodeKilled, ContainerID: status.ContainerID,
			Message: "The container could not be located when the remote pod was gone",
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
// created for now.
func (s *Site) PendingStatus(local *corev1.Pod, reason, message string, now metav1.Time) *corev1.PodStatus {
	status := local.Status.DeepCopy()
	if finished(local) {
		return status
	}
	if status.Phase == "" {
		status.Phase = corev1.PodPending
	}
	status.Conditions = setCondition(status.Conditions, corev1.PodCondition{
		Type: ConditionRemoteCreated, Status: corev1.ConditionFalse, Reason: reason, Message: message,
	}, now)
	return status
}

// Annotations returns the mapping annotations of the local pod. They go into the
// same patch as the status.
func (s *Site) Annotations(local, remote *corev1.Pod) map[string]string {
	if !s.isFor(remote, local) {
		return nil
	}
	annotations := map[string]string{
		AnnotationRemoteNamespace: remote.Namespace,
		AnnotationRemoteUID:       string(remote.UID),
	}
	if remote.Spec.NodeName != "" {
		annotations[AnnotationRemoteNode] = remote.Spec.NodeName
	}
	return annotations
}

// StatusPatch returns the strategic merge patch of the status subresource that
// gives a local pod that status and those annotations, with its UID as
// precondition; nil when it has them already. Conditions that others write
// meanwhile are kept: they are merged by type.
func StatusPatch(local *corev1.Pod, status *corev1.PodStatus, annotations map[string]string) ([]byte, error) {
	changed := map[string]string{}
	for key, value := range annotations {
		if have, ok := local.Annotations[key]; !ok || have != value {
			changed[key] = value
		}
	}
	if len(changed) == 0 && apiequality.Semantic.DeepEqual(&local.Status, status) {
		return nil, nil
	}
	before, err := json.Marshal(corev1.Pod{Status: local.Status})
	if err != nil {
		return nil, fmt.Errorf("encode status of local pod %s/%s: %w", local.Namespace, local.Name, err)
	}
	after, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: local.UID, Annotations: changed}, Status: *status})
	if err != nil {
		return nil, fmt.Errorf("encode status of local pod %s/%s: %w", local.Namespace, local.Name, err)
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("compare status of local pod %s/%s: %w", local.Namespace, local.Name, err)
	}
	return patch, nil
}

// LocalText returns a text of the remote cluster about a local pod with local
// names in place of remote ones.
func (s *Site) LocalText(local *corev1.Pod, text string) string {
	return s.names(local, "").translate(text)
}

// names are pairs of a remote name and the local one to read in its place.
type names [][2]string

// names returns what to translate in messages of the remote cluster about a
// local pod. remoteUID may be empty.
func (s *Site) names(local *corev1.Pod, remoteUID types.UID) names {
	pairs := names{
		{RemoteNamespace(s.Node, local.Namespace), local.Namespace},
		{reservedPrefix + rootCAConfigMap, rootCAConfigMap},
	}
	if remoteUID != "" {
		pairs = append(pairs, [2]string{string(remoteUID), string(local.UID)})
	}
	return pairs
}

func (n names) translate(text string) string {
	if text == "" {
		return text
	}
	for _, pair := range n {
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	return text
}
