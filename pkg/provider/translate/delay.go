package translate

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

const (
	// firstDelay lets the remote scheduler's word come along with the first
	// status: it follows within milliseconds.
	firstDelay = 20 * time.Millisecond
	// creatingDelay lets a pod's start come along with the word that its
	// containers are being created, which kubectl shows.
	creatingDelay = time.Second
	// sandboxDelay is for what nobody sees before the containers run: a kubelet
	// reports the sandbox and its address a moment earlier.
	sandboxDelay = 30 * time.Second
)

// StatusDelay returns how long the next status of a local pod may wait for
// what usually follows it, so that a pod's start costs three patches and not
// one for each word of the remote. It is 0 for everything that somebody waits
// for: a phase, a container's state, readiness, an end.
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

// creating reports whether no container of a new pod is in any other state
// than that which a kubelet gives all of them at first.
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
