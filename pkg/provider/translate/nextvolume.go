package translate

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
)

// VolumeAction is what a step in the life of a volume does.
type VolumeAction string

// The actions of the volume table. Those that delete, and VolumeLost, need evidence from
// the API servers themselves before they are carried out: a cache may lag behind.
const (
	VolumeNone         VolumeAction = "None"         // nothing to do
	VolumeCreateRemote VolumeAction = "CreateRemote" // create the remote claim
	VolumeWait         VolumeAction = "Wait"         // the remote cluster has to do something first
	VolumeCreate       VolumeAction = "CreateVolume" // create the local volume
	VolumeCommit       VolumeAction = "Commit"       // mark the remote claim as the volume's
	VolumeMirror       VolumeAction = "Mirror"       // requests down, capacity and conditions up
	VolumeDiscard      VolumeAction = "Discard"      // delete a remote claim that was never used
	VolumeDeleteRemote VolumeAction = "DeleteRemote" // delete the remote claim of a released volume
	VolumeRelease      VolumeAction = "Release"      // delete the local volume, which has no remote claim any more
	VolumeLetGo        VolumeAction = "LetGo"        // let somebody else's deletion of the local volume happen
	VolumeKeep         VolumeAction = "Keep"         // the data stays, and nobody uses it
	VolumeOrphan       VolumeAction = "Orphan"       // the data stays, and no volume leads to it
	VolumeLost         VolumeAction = "Lost"         // the remote claim is gone: tell, and make no other
	VolumeEnding       VolumeAction = "Ending"       // somebody deletes the remote claim: tell, while its data is there
)

// VolumeState is what is known of one volume. Every part but the class may be nil.
type VolumeState struct {
	// Claim is the local claim that the volume is for, by UID.
	Claim *corev1.PersistentVolumeClaim
	// Class is the StorageClass of Claim.
	Class *storagev1.StorageClass
	// Volume is the local volume.
	Volume *corev1.PersistentVolume
	// Remote is the remote claim.
	Remote *corev1.PersistentVolumeClaim
	// Late says that the remote class gives a claim its storage with the first pod.
	Late bool
	// RemoteClusterUID identifies the remote cluster.
	RemoteClusterUID types.UID
}

// NextVolume is the lifecycle table of volumes: a local claim, its local volume, and the
// remote claim that has the data. A remote claim is deleted for one of two reasons only: its
// volume is released with the policy Delete, or it was never used.
func (m *Mapper) NextVolume(s VolumeState) VolumeAction {
	if s.Volume != nil {
		return m.nextOfVolume(s)
	}
	wanted := m.provisions(s.Claim, s.Class)
	switch {
	case wanted && s.Remote == nil:
		return VolumeCreateRemote
	case s.Remote == nil:
		return VolumeNone
	case wanted && s.Remote.DeletionTimestamp != nil:
		return VolumeWait // then there will be another one
	case wanted && (s.Remote.Status.Phase == corev1.ClaimBound || s.Late):
		return VolumeCreate
	case wanted:
		return VolumeWait
	case isCommitted(s.Remote):
		return VolumeOrphan
	case s.Remote.DeletionTimestamp == nil && (s.Claim == nil || isBoundToAnother(s.Claim)):
		return VolumeDiscard
	}
	return VolumeNone
}

// nextOfVolume is NextVolume for a local volume that exists.
func (m *Mapper) nextOfVolume(s VolumeState) VolumeAction {
	node, source, ok := volume.Of(s.Volume)
	if !ok || node != m.Node {
		return VolumeNone
	}
	sameCluster := source.ClusterUID == s.RemoteClusterUID
	released := s.Volume.Status.Phase == corev1.VolumeReleased
	deletes := released && s.Volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete && sameCluster
	// A bound volume without its claim is about to be released.
	ends := s.Volume.DeletionTimestamp != nil && (released || s.Claim == nil && s.Volume.Status.Phase != corev1.VolumeBound)
	switch there := sameCluster && s.Remote != nil && s.Remote.UID == volume.Adopted(s.Volume); {
	case deletes && !there:
		return VolumeRelease
	case deletes && s.Remote.DeletionTimestamp != nil:
		return VolumeWait
	case deletes:
		return VolumeDeleteRemote
	case ends:
		return VolumeLetGo
	case !there:
		return VolumeLost
	case s.Remote.DeletionTimestamp != nil:
		return VolumeEnding
	case s.Remote.Annotations[contract.AnnotationVolume] != string(s.Volume.UID):
		return VolumeCommit
	case released:
		return VolumeKeep
	}
	return VolumeMirror
}

// isCommitted reports whether a remote claim was ever given to a local volume, so that pods
// may have written to it.
func isCommitted(remote *corev1.PersistentVolumeClaim) bool {
	return remote.Annotations[contract.AnnotationVolume] != ""
}

// isBoundToAnother reports whether a claim has another volume than the one that is named
// after it.
func isBoundToAnother(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Spec.VolumeName != "" && claim.Spec.VolumeName != contract.VolumeName(claim.UID)
}

// provisions reports whether it is up to this node to provide a volume for a claim now.
func (m *Mapper) provisions(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) bool {
	return claim != nil && class != nil && class.Provisioner == contract.StorageDriver &&
		claim.DeletionTimestamp == nil && claim.Spec.VolumeName == "" &&
		volume.IsProvisioned(claim) && m.isSelected(claim, class)
}

// isSelected reports whether the volume of a claim has to be on this node: a pod that uses
// it was scheduled to the node, or the class has volumes on no other.
func (m *Mapper) isSelected(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) bool {
	if selected := claim.Annotations[volume.AnnotationSelectedNode]; selected != "" {
		return selected == m.Node
	}
	late := class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
	return !late && onlyNode(class) == m.Node
}

// onlyNode returns the only node that a class has volumes on, or an empty string.
func onlyNode(class *storagev1.StorageClass) string {
	only := ""
	for i := range class.AllowedTopologies {
		for _, requirement := range class.AllowedTopologies[i].MatchLabelExpressions {
			if requirement.Key != contract.LabelNodeName {
				continue
			}
			for _, node := range requirement.Values {
				if only != "" && only != node {
					return ""
				}
				only = node
			}
		}
	}
	return only
}
