package storage

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
)

// State is what has become of a volume, as people see it.
type State string

const (
	// Bound is a volume whose remote claim has one as well.
	Bound State = volume.StateBound
	// Waiting is one that is being made: with a remote class that waits for its first
	// consumer, until a pod uses it.
	Waiting State = volume.StateWaiting
	// Available is one that a person imported, and that no local claim is bound to yet.
	Available State = "available"
	// Kept is one whose local claim is gone and whose policy is Retain.
	Kept State = volume.StateKept
	// Deleting is one whose data akd deletes, because its local claim is gone.
	Deleting State = "deleting"
	// Lost is one whose remote claim is gone, or is another one.
	Lost State = volume.StateLost
	// Orphan is a remote claim with data that no local PersistentVolume leads to.
	Orphan State = volume.StateOrphan
)

// States returns all states, in the order in which people are told of them.
func States() []State { return []State{Bound, Waiting, Available, Deleting, Kept, Lost, Orphan} }

// Counts are numbers of volumes by state.
type Counts map[State]int

// Count counts the volumes of a node.
func Count(volumes []Volume, node string) Counts {
	counts := Counts{}
	for i := range volumes {
		if volumes[i].Node == node {
			counts[volumes[i].State]++
		}
	}
	return counts
}

// String is such as "2 bound, 1 kept".
func (c Counts) String() string {
	var parts []string
	for _, state := range States() {
		if c[state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c[state], state))
		}
	}
	return strings.Join(parts, ", ")
}

// Reasons of states. Those of the condition RemoteBound are akd's.
const (
	reasonLost      = "RemoteClaimLost"
	reasonEnding    = "RemoteClaimEnding"
	reasonPending   = "Pending"
	reasonNoVolume  = "NoPersistentVolume"
	reasonElsewhere = "OtherRemoteCluster"
	reasonUnused    = "NeverUsed"
)

// stateOf returns what has become of a local PersistentVolume of AK. claim is the local
// claim that is bound to it; it is nil if there is none, or if the user may not read it.
func stateOf(pv *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim, remote answer) (state State, reason, message string) {
	released := pv.Status.Phase == corev1.VolumeReleased || pv.Status.Phase == corev1.VolumeFailed
	switch {
	case released && pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete:
		return Deleting, "", "akd deletes the remote claim, because its local claim is gone"
	case pv.DeletionTimestamp != nil && pv.Status.Phase != corev1.VolumeBound:
		return Deleting, "", "akd leaves the remote claim as it is, because the policy of the PersistentVolume is not Delete"
	}
	if message := lost(pv, claim, remote); message != "" {
		return Lost, reasonLost, message
	}
	switch {
	case released:
		state = Kept
	case pv.Status.Phase != corev1.VolumeBound && pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.UID == "":
		state = Available
	default:
		state, reason, message = stateOfBound(claim, remote)
	}
	if remote.elsewhere && reason == "" {
		_, place, _ := volume.Of(pv)
		reason = reasonElsewhere
		message = fmt.Sprintf("the remote claim is in another cluster than the named one: its kube-system has UID %s", place.ClusterUID)
	}
	return state, reason, message
}

// lost says why the data cannot be had, or nothing. Without the remote cluster, akd's word
// is taken.
func lost(pv *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim, remote answer) string {
	_, place, _ := volume.Of(pv)
	handle, uid := contract.VolumeHandle(place.Namespace, place.Claim), volume.Adopted(pv)
	switch {
	case !remote.known:
		if condition := remoteBound(claim); condition != nil && condition.Reason == reasonLost {
			return condition.Message
		}
		return ""
	case remote.claim == nil:
		return fmt.Sprintf("the remote claim %s (UID %s) is gone", handle, uid)
	case remote.claim.UID != uid:
		return fmt.Sprintf("the remote claim %s is another one, which does not have the data: its UID is %s, not %s",
			handle, remote.claim.UID, uid)
	case remote.claim.Status.Phase == corev1.ClaimLost:
		return fmt.Sprintf("the remote claim %s has lost its volume %s", handle, remote.claim.Spec.VolumeName)
	default:
		return ""
	}
}

// stateOfBound returns what the remote claim of a used volume lacks, if anything. akd tells
// nothing of a claim whose volume was imported, unless the claim says that akd provisions it.
func stateOfBound(claim *corev1.PersistentVolumeClaim, remote answer) (state State, reason, message string) {
	condition := remoteBound(claim)
	state = Bound
	switch {
	case remote.known && remote.claim.DeletionTimestamp != nil:
		return Bound, reasonEnding, "somebody deletes the remote claim"
	case remote.known && remote.claim.Status.Phase == corev1.ClaimBound:
		return Bound, "", ""
	case remote.known:
		state, reason = Waiting, reasonPending
	case claim != nil && condition == nil && volume.IsProvisioned(claim):
		return Waiting, reasonPending, ""
	}
	if condition == nil || condition.Status != corev1.ConditionFalse || remote.known && condition.Reason == reasonLost {
		return state, reason, message
	}
	if condition.Reason != reasonEnding {
		state = Waiting
	}
	return state, condition.Reason, condition.Message
}

// stateOfRemote returns what has become of a remote claim that no local PersistentVolume
// leads to. Without the mark it was never used: see contract.AnnotationVolume.
func stateOfRemote(claim *corev1.PersistentVolumeClaim) (state State, reason, message string) {
	if claim.Annotations[contract.AnnotationVolume] == "" {
		return Waiting, reasonUnused, "no pod has used the remote claim: akd goes on with it, or deletes it if its local claim is gone"
	}
	return Orphan, "", "no local PersistentVolume leads to the remote claim"
}

// remoteBound returns the condition in which akd tells of the remote claim, or nil.
func remoteBound(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaimCondition {
	if claim == nil {
		return nil
	}
	return volume.Condition(claim, contract.ConditionRemoteBound)
}
