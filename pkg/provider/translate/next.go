package translate

import (
	"fmt"
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
	Create       Action = "Create"       // mirror the needs, then create the remote pod
	Update       Action = "Update"       // apply Mapper.Update, then copy the status
	CopyStatus   Action = "CopyStatus"   // patch the local status with Mapper.Status
	Fail         Action = "Fail"         // patch the local status with Mapper.FailedStatus
	DeleteRemote Action = "DeleteRemote" // delete the remote pod
	Wait         Action = "Wait"         // the remote pod is ending: copy the status
	LetGo        Action = "LetGo"        // apply LastStatePatch to the remote pod
	Release      Action = "Release"      // delete the local pod with grace period 0
	Refuse       Action = "Refuse"       // report to the owner; change nothing
)

// Step is what to do next, given the states of a local pod and its remote pod.
// Every deletion has the UID of the object that was passed to Next as
// precondition.
type Step struct {
	Action Action
	// GracePeriodSeconds is for DeleteRemote; nil means that of the remote pod.
	GracePeriodSeconds *int64
	// Again is when to call Next again even if nothing changes; zero means never.
	Again time.Time
	// Reason and Message are for Fail and Refuse.
	Reason  string
	Message string
}

// Next is the lifecycle table. local is the pod that is bound to the node, remote
// the pod of the same name in the remote namespace. Either may be nil.
func (m *Mapper) Next(local, remote *corev1.Pod) Step {
	switch {
	case local == nil:
		return m.nextOrphan(remote)
	case local.Spec.NodeName != m.Node:
		return Step{Action: None}
	case remote == nil && IsMirrorPod(local):
		return Step{Action: Release}
	case remote == nil:
		return nextWithoutRemote(local)
	case !m.OwnsPodFor(remote, local):
		return m.nextConflict(local, remote)
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

// IsMirrorPod reports whether a local pod claims to be the image of a static pod,
// which a file on a kubelet's machine describes. The node has none, so akd deletes such
// a pod, as a kubelet deletes one whose static pod does not exist. The API sets the
// annotation at creation only.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/kubelet_pods.go (HandlePodCleanups)
func IsMirrorPod(local *corev1.Pod) bool {
	_, is := local.Annotations[corev1.MirrorPodAnnotationKey]
	return is
}

// nextOrphan deletes a remote pod without a local pod, with the grace period of the
// remote pod: the tables do not know that of the local pod.
func (m *Mapper) nextOrphan(remote *corev1.Pod) Step {
	switch {
	case remote == nil || m.OwnsPod(remote, remote.Labels[contract.LabelNamespace]) != nil:
		return Step{Action: None}
	case remote.DeletionTimestamp == nil:
		return Step{Action: DeleteRemote}
	case held(remote):
		return Step{Action: LetGo} // nobody is left to ask how it ended
	}
	return Step{Action: None}
}

func nextWithoutRemote(local *corev1.Pod) Step {
	started := local.Status.StartTime != nil
	switch {
	case local.DeletionTimestamp != nil && started && !Finished(local):
		// A kubelet makes a pod terminal before it releases the pod, and whoever
		// watches the pod waits for that, a Job with its finalizer above all.
		// https://github.com/kubernetes/enhancements/tree/master/keps/sig-apps/3329-retriable-and-non-retriable-failures
		return Step{Action: Fail, Reason: ReasonRemotePodEnded, Message: messageRemotePodEnded}
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

// nextConflict handles a remote pod of the same name that akd created for another
// local pod, or that somebody else created.
func (m *Mapper) nextConflict(local, remote *corev1.Pod) Step {
	err := m.OwnsPod(remote, local.Namespace)
	if err == nil && remote.DeletionTimestamp == nil {
		return Step{Action: DeleteRemote}
	}
	if err == nil && held(remote) {
		return Step{Action: LetGo} // the local pod of that name is another one by now
	}
	if IsMirrorPod(local) {
		return Step{Action: Release}
	}
	if local.DeletionTimestamp != nil {
		return nextWithoutRemote(local) // nothing of this pod runs
	}
	if err != nil {
		if Finished(local) {
			return Step{Action: None}
		}
		return Step{Action: Refuse, Reason: ReasonRemotePodForeign, Message: sentence(err)}
	}
	if local.Status.StartTime != nil || Finished(local) {
		return Step{Action: Wait}
	}
	return Step{Action: Refuse, Reason: ReasonFormerRemotePod, Message: formerPod(remote)}
}

// formerPod is what the owner of a pod reads whose name a remote pod still has. Its own
// pod was deleted without waiting for that one, so it may take long, or for ever.
func formerPod(remote *corev1.Pod) string {
	message := fmt.Sprintf("Remote pod %s/%s of a former pod of the same name has not ended", remote.Namespace, remote.Name)
	if remote.Spec.NodeName != "" {
		message += " on remote node " + remote.Spec.NodeName
	}
	if len(remote.Finalizers) > 0 {
		message += " and has the finalizers " + strings.Join(remote.Finalizers, ", ")
	}
	return message + ". This pod starts when that one is gone."
}

// GracePeriod returns the grace period, in seconds, of a remote pod whose local one was
// deleted with the given one, or nil if that is not known. As in a kubelet, it is at least
// one second: a grace period of 0 would remove the remote pod from the API while its
// containers still run.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/pod_workers.go (calculateEffectiveGracePeriod)
func GracePeriod(local *int64) *int64 {
	if local == nil {
		return nil
	}
	seconds := max(*local, 1)
	return &seconds
}

// nextTerminating passes on the local grace period, and again if it has been shortened
// since.
func nextTerminating(local, remote *corev1.Pod) Step {
	grace := GracePeriod(local.DeletionGracePeriodSeconds)
	if remote.DeletionTimestamp == nil {
		return Step{Action: DeleteRemote, GracePeriodSeconds: grace}
	}
	if was := remote.DeletionGracePeriodSeconds; grace != nil && was != nil && *grace < *was {
		return Step{Action: DeleteRemote, GracePeriodSeconds: grace}
	}
	switch {
	case Finished(local) && held(remote):
		return Step{Action: LetGo}
	case forced(remote) && !Finished(remote):
		return Step{Action: Wait, Again: lostAt(remote)} // Status then gives it up
	}
	return Step{Action: Wait}
}

// nextFinished keeps a finished remote pod for its logs. It deletes a remote pod
// that still runs although the local pod is finished, as a kubelet does.
func nextFinished(remote *corev1.Pod) Step {
	ended := Finished(remote) || remote.DeletionTimestamp != nil
	switch {
	case ended && held(remote):
		return Step{Action: LetGo}
	case ended:
		return Step{Action: None}
	}
	return Step{Action: DeleteRemote}
}

// Finished reports whether a pod has ended: its phase is Succeeded or Failed.
func Finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// sentence turns the text of an error into the message of an event.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
