package translate

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Action is what a step of the lifecycle does.
type Action string

// The actions of the lifecycle table.
const (
	None         Action = "None"         // nothing to do
	Create       Action = "Create"       // mirror the needs, create the remote pod
	Update       Action = "Update"       // apply Mapper.Update, then copy the status
	CopyStatus   Action = "CopyStatus"   // patch the local status with Mapper.Status
	Fail         Action = "Fail"         // patch the local status with Mapper.FailedStatus
	DeleteRemote Action = "DeleteRemote" // delete the remote pod
	Wait         Action = "Wait"         // the remote pod is ending: only copy the status
	Release      Action = "Release"      // delete the local pod with grace 0
	Refuse       Action = "Refuse"       // tell the owner; touch nothing
)

// Step is what follows from the states of a local pod and its remote pod.
// Every deletion carries the UID of the object that Next was given.
type Step struct {
	Action Action
	// GracePeriodSeconds is for DeleteRemote; nil leaves it to the remote pod.
	GracePeriodSeconds *int64
	// Again is when to ask Next again though nothing has changed; zero is never.
	Again time.Time
	// Reason and Message are for Fail and Refuse.
	Reason  string
	Message string
}

// Next is the lifecycle table. local is the pod bound to our node and remote
// the pod of the same name in its remote namespace; either may be nil.
func (m *Mapper) Next(local, remote *corev1.Pod) Step {
	switch {
	case local == nil:
		return m.nextOrphan(remote)
	case local.Spec.NodeName != m.Node || local.Annotations[corev1.MirrorPodAnnotationKey] != "":
		// Not bound to us, or a static pod of a kubelet: never ours.
		return Step{Action: None}
	case remote == nil:
		return nextWithoutRemote(local)
	case !m.OwnsPodFor(remote, local):
		return m.nextStranger(local, remote)
	case local.DeletionTimestamp != nil:
		return nextTerminating(local, remote)
	case Finished(local):
		return nextFinished(remote)
	case remote.DeletionTimestamp != nil && Finished(remote):
		return Step{Action: Wait}
	case remote.DeletionTimestamp != nil:
		return Step{Action: Wait, Again: lostAt(remote)} // Status then gives it up
	case !Finished(remote) && m.differs(local, remote):
		return Step{Action: Update}
	}
	return Step{Action: CopyStatus}
}

// nextOrphan ends what has no local pod any more, with the remote pod's own
// grace period: the local one's went with it.
func (m *Mapper) nextOrphan(remote *corev1.Pod) Step {
	if remote == nil || remote.DeletionTimestamp != nil || m.OwnsPod(remote, remote.Labels[contract.LabelNamespace]) != nil {
		return Step{Action: None}
	}
	return Step{Action: DeleteRemote}
}

func nextWithoutRemote(local *corev1.Pod) Step {
	started := local.Status.StartTime != nil
	switch {
	case local.DeletionTimestamp != nil && started && !Finished(local) && len(local.Finalizers) > 0:
		// A kubelet makes a pod terminal before it lets it go, and controllers
		// that hold it by a finalizer (Job) wait for that.
		// https://github.com/kubernetes/enhancements/tree/master/keps/sig-apps/3329-retriable-and-non-retriable-failures
		return Step{Action: Fail, Reason: ReasonRemotePodEnded,
			Message: "The remote pod ended before its last state was seen."}
	case local.DeletionTimestamp != nil:
		return Step{Action: Release}
	case Finished(local):
		return Step{Action: None}
	case started:
		return Step{Action: Fail, Reason: ReasonRemotePodDeleted,
			Message: messageRemotePodDeleted}
	}
	return Step{Action: Create}
}

// nextStranger handles a remote pod under our name that another local pod, or
// somebody else, made.
func (m *Mapper) nextStranger(local, remote *corev1.Pod) Step {
	if local.DeletionTimestamp != nil {
		return nextWithoutRemote(local) // nothing of this pod runs
	}
	if err := m.OwnsPod(remote, local.Namespace); err != nil {
		if Finished(local) {
			return Step{Action: None}
		}
		return Step{Action: Refuse, Reason: ReasonRemotePodForeign, Message: sentence(err)}
	}
	if remote.DeletionTimestamp != nil {
		return Step{Action: Wait}
	}
	return Step{Action: DeleteRemote}
}

// nextTerminating forwards the local grace period, and again when it was
// shortened since. As in a kubelet it is never less than a second: grace 0
// would remove the remote pod from the API while its containers still run.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/pod_workers.go (calculateEffectiveGracePeriod)
func nextTerminating(local, remote *corev1.Pod) Step {
	grace := local.DeletionGracePeriodSeconds
	if grace != nil {
		seconds := max(*grace, 1)
		grace = &seconds
	}
	if remote.DeletionTimestamp == nil {
		return Step{Action: DeleteRemote, GracePeriodSeconds: grace}
	}
	if was := remote.DeletionGracePeriodSeconds; grace != nil && was != nil && *grace < *was {
		return Step{Action: DeleteRemote, GracePeriodSeconds: grace}
	}
	return Step{Action: Wait}
}

// nextFinished keeps a finished remote pod for its logs, and stops one that
// still runs though the local API calls its pod finished, as a kubelet does.
func nextFinished(remote *corev1.Pod) Step {
	if Finished(remote) || remote.DeletionTimestamp != nil {
		return Step{Action: None}
	}
	return Step{Action: DeleteRemote}
}

// Finished reports whether a pod has ended for good: Succeeded or Failed.
func Finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// sentence turns an error's text into a message for an event.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
