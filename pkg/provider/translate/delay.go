package translate

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

const (
	// firstDelay lets the first status include the result of the remote scheduler,
	// which follows within milliseconds.
	firstDelay = 20 * time.Millisecond
	// creatingDelay lets the status include both the start of the pod and the
	// creation of its containers, which kubectl shows.
	creatingDelay = time.Second
	// sandboxDelay is for the sandbox and its address, which a kubelet reports
	// shortly before the containers run and nobody needs earlier.
	sandboxDelay = 30 * time.Second
)

// StatusDelay returns how long the next status of a local pod may wait for the
// change that usually follows, so that the start of a pod takes three patches and
// not one for every change of the remote pod. It is 0 for everything that others
// wait for: the phase, the state of a container, readiness, termination.
func StatusDelay(local *corev1.Pod, next *corev1.PodStatus) time.Duration {
	before := &local.Status
	scheduled := condition(next.Conditions, contract.ConditionRemoteScheduled)
	switch {
	case local.DeletionTimestamp != nil || next.Phase != corev1.PodPending || before.Phase != corev1.PodPending:
		return 0
	case scheduled != nil && scheduled.Status == corev1.ConditionFalse:
		return 0 // nothing more will come soon
	case before.StartTime == nil:
		return firstDelay
	case sameContainers(before, next):
		return sandboxDelay
	case len(before.ContainerStatuses) == 0 && creating(next):
		return creatingDelay
	}
	return 0
}

// creating reports whether all containers of a new pod are in the initial state
// that a kubelet reports.
func creating(status *corev1.PodStatus) bool {
	other := func(c corev1.ContainerStatus) bool {
		waiting := c.State.Waiting
		return waiting == nil || waiting.Reason != "ContainerCreating" && waiting.Reason != "PodInitializing"
	}
	return !slices.ContainsFunc(status.InitContainerStatuses, other) && !slices.ContainsFunc(status.ContainerStatuses, other)
}

func sameContainers(a, b *corev1.PodStatus) bool {
	return equality.Semantic.DeepEqual(a.ContainerStatuses, b.ContainerStatuses) &&
		equality.Semantic.DeepEqual(a.InitContainerStatuses, b.InitContainerStatuses) &&
		equality.Semantic.DeepEqual(a.EphemeralContainerStatuses, b.EphemeralContainerStatuses)
}
