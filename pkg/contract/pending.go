package contract

import corev1 "k8s.io/api/core/v1"

// RemotelyPending returns the condition that says since when and why the remote
// scheduler finds no node for a local pod, or nil if the pod does not wait for it.
// Whoever counts such pods asks here, so that all counts agree.
func RemotelyPending(pod *corev1.Pod) *corev1.PodCondition {
	if pod.Status.Phase != corev1.PodPending || pod.DeletionTimestamp != nil {
		return nil
	}
	for i := range pod.Status.Conditions {
		condition := &pod.Status.Conditions[i]
		if condition.Type == ConditionRemoteScheduled && condition.Status == corev1.ConditionFalse {
			return condition
		}
	}
	return nil
}
