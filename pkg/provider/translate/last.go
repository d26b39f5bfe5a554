package translate

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// How a pod ended is in the last states of its remote pod, which a watch may report
// within milliseconds, and nobody again. Two things keep them: the object that a watch
// reports with the deletion, for NextEnded, and a finalizer on the remote pod, for an
// akd that does not watch at that moment.

// awaited reports whether somebody waits for how the pod ends: remote pods are created
// with the finalizer then. If the end of a container can be that of the pod, a
// controller such as a Job decides by it; and whoever holds the pod by a finalizer
// reads its last status.
func awaited(local *corev1.Pod) bool {
	policy := local.Spec.RestartPolicy
	return policy == corev1.RestartPolicyNever || policy == corev1.RestartPolicyOnFailure || len(local.Finalizers) > 0
}

// held reports whether the API server keeps a deleted remote pod until akd has seen
// how it ended.
func held(remote *corev1.Pod) bool {
	return slices.Contains(remote.Finalizers, contract.FinalizerLastState)
}

// forced reports whether the remote pod is held only by finalizers: it was deleted
// without a grace period, or its kubelet has released it.
func forced(remote *corev1.Pod) bool {
	return remote.DeletionTimestamp != nil && remote.DeletionGracePeriodSeconds != nil && *remote.DeletionGracePeriodSeconds == 0
}

// LastStatePatch returns the patch that takes akd's finalizer off a remote pod.
func LastStatePatch(remote *corev1.Pod) Patch {
	return Patch{Data: contract.WithoutLastState(remote.UID)}
}

// NextEnded is Next for a local pod whose remote pod is gone, if the state in which a
// watch reported its deletion is known: the local pod gets a final status, as from a
// kubelet, before anything else. Status and Annotations take Ended of that state.
func (m *Mapper) NextEnded(local, last *corev1.Pod) Step {
	if Finished(local) || !m.OwnsPodFor(last, local) {
		return m.Next(local, nil)
	}
	if local.DeletionTimestamp == nil && local.Status.StartTime == nil && last.Status.StartTime == nil {
		return m.Next(local, nil) // no kubelet ever had it
	}
	return Step{Action: Wait}
}

// Ended returns what a kubelet would have reported at last of a remote pod that is
// gone. If the last state is not a final one, a container that is not known to have
// exited has failed.
func (m *Mapper) Ended(last *corev1.Pod, now metav1.Time) *corev1.Pod {
	ended := *last
	if ended.DeletionTimestamp == nil {
		ended.DeletionTimestamp = &now
	}
	if Finished(last) {
		return &ended
	}
	ended.Status = *m.FailedStatus(last, ReasonRemotePodEnded, messageRemotePodEnded, now)
	if exited, well := exits(last); exited {
		ended.Status.Reason, ended.Status.Message = "", ""
		if well {
			ended.Status.Phase = corev1.PodSucceeded
		}
	}
	return &ended
}

// exits reports whether all containers are known to have exited, and all of them well.
func exits(pod *corev1.Pod) (exited, well bool) {
	well = true
	for i := range pod.Spec.Containers {
		name := pod.Spec.Containers[i].Name
		at := slices.IndexFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == name })
		if at < 0 || pod.Status.ContainerStatuses[at].State.Terminated == nil {
			return false, false
		}
		well = well && pod.Status.ContainerStatuses[at].State.Terminated.ExitCode == 0
	}
	return true, well
}
