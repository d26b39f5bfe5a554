package faults

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// selectedNode is on a claim for which the scheduler has chosen a node.
// See AnnSelectedNode in k8s.io/component-helpers/storage/volume/pv_helpers.go
const selectedNode = "volume.kubernetes.io/selected-node"

// stored is what both clusters contain of claims and volumes.
type stored struct {
	claims  []corev1.PersistentVolumeClaim // local ones
	volumes []corev1.PersistentVolume      // local ones
	remotes []corev1.PersistentVolumeClaim
}

// locals are the local claims and volumes.
func (s *stored) locals() []metav1.Object { return append(objects(s.claims), objects(s.volumes)...) }

// objects are what a list contains.
func objects[T any, P interface {
	*T
	metav1.Object
}](list []T) (found []metav1.Object) {
	for i := range list {
		found = append(found, P(&list[i]))
	}
	return found
}

// disagreement says what is still missing until all claims are as their owners want them,
// and both clusters say the same.
func (s *stored) disagreement() error {
	volumes, remotes := map[string]*corev1.PersistentVolume{}, map[string]*corev1.PersistentVolumeClaim{}
	for i := range s.volumes {
		volumes[s.volumes[i].Name] = &s.volumes[i]
	}
	for i := range s.remotes {
		remotes[s.remotes[i].Name] = &s.remotes[i]
		if volumes[s.remotes[i].Name] == nil {
			return fmt.Errorf("no local volume leads to remote claim %s", name(&s.remotes[i]))
		}
	}
	for i := range s.claims {
		claim := &s.claims[i]
		if err := settled(claim, volumes[claim.Spec.VolumeName], remotes[claim.Spec.VolumeName]); err != nil {
			return fmt.Errorf("claim %s: %w", name(claim), err)
		}
	}
	for name, volume := range volumes {
		if err := kept(volume, remotes[name]); err != nil {
			return fmt.Errorf("volume %s: %w", name, err)
		}
	}
	return nil
}

// settled says what a claim still waits for. One that no pod has asked for waits for
// nothing.
func settled(claim *corev1.PersistentVolumeClaim, volume *corev1.PersistentVolume, other *corev1.PersistentVolumeClaim) error {
	switch {
	case claim.DeletionTimestamp != nil:
		return errors.New("it is being deleted")
	case claim.Spec.VolumeName == "" && claim.Annotations[selectedNode] == "":
		return nil
	case claim.Status.Phase != corev1.ClaimBound:
		return fmt.Errorf("it is %s", claim.Status.Phase)
	case volume == nil || other == nil:
		return errors.New("its volume or its remote claim does not exist")
	case other.Annotations[contract.AnnotationVolume] != string(volume.UID):
		return errors.New("its remote claim is not marked as that of its volume")
	case remotelyBound(claim) != (other.Status.Phase == corev1.ClaimBound):
		return fmt.Errorf("its remote claim is %s, and it says that it is bound: %t", other.Status.Phase, remotelyBound(claim))
	case other.Status.Phase != corev1.ClaimBound:
		return nil
	}
	return alikeInSize(claim, volume, other)
}

// alikeInSize compares what is requested and what is there on both sides.
func alikeInSize(claim *corev1.PersistentVolumeClaim, volume *corev1.PersistentVolume, other *corev1.PersistentVolumeClaim) error {
	const storage = corev1.ResourceStorage
	has, offered, there := claim.Status.Capacity[storage], volume.Spec.Capacity[storage], other.Status.Capacity[storage]
	if has.Cmp(there) != 0 || offered.Cmp(there) != 0 {
		return fmt.Errorf("it has %s, its volume %s, and its remote claim %s", has.String(), offered.String(), there.String())
	}
	asked, passed := claim.Spec.Resources.Requests[storage], other.Spec.Resources.Requests[storage]
	if asked.Cmp(passed) > 0 {
		return fmt.Errorf("it requests %s, and its remote claim %s", asked.String(), passed.String())
	}
	return nil
}

// kept says what is wrong with a volume that no claim has, or whose data is gone.
func kept(volume *corev1.PersistentVolume, other *corev1.PersistentVolumeClaim) error {
	policy := volume.Spec.PersistentVolumeReclaimPolicy
	retained := volume.Status.Phase == corev1.VolumeReleased && policy == corev1.PersistentVolumeReclaimRetain
	switch {
	case volume.DeletionTimestamp != nil:
		return errors.New("it is being deleted")
	case volume.Status.Phase != corev1.VolumeBound && !retained:
		return fmt.Errorf("it is %s, and to %s", volume.Status.Phase, policy)
	case other == nil || string(other.UID) != volume.Spec.CSI.VolumeAttributes[contract.AttributeRemoteUID]:
		return errors.New("its remote claim is gone, or another one")
	case other.DeletionTimestamp != nil:
		return errors.New("its remote claim is being deleted")
	}
	return nil
}

func remotelyBound(claim *corev1.PersistentVolumeClaim) bool {
	for i := range claim.Status.Conditions {
		if condition := &claim.Status.Conditions[i]; condition.Type == contract.ConditionRemoteBound {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
