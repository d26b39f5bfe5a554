package volume

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Annotations that Kubernetes sets on a local claim.
const (
	// AnnotationProvisioner names who provisions the claim, and is set when it is time to.
	// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/volume/persistentvolume/pv_controller.go (setClaimProvisioner)
	AnnotationProvisioner = "volume.kubernetes.io/storage-provisioner"
	// AnnotationSelectedNode is the node of the first pod that uses the claim.
	AnnotationSelectedNode = "volume.kubernetes.io/selected-node"
)

// IsProvisioned reports whether Kubernetes has asked AK for the volume of a local claim. A
// person may have imported it instead.
func IsProvisioned(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Annotations[AnnotationProvisioner] == contract.StorageDriver
}

// Size returns what a claim has or, until it is bound, what it asks for.
func Size(claim *corev1.PersistentVolumeClaim) resource.Quantity {
	if size, ok := claim.Status.Capacity[corev1.ResourceStorage]; ok && claim.Status.Phase == corev1.ClaimBound {
		return size
	}
	return claim.Spec.Resources.Requests[corev1.ResourceStorage]
}

// Disk returns how large the disk of a claim is, as far as the claim tells, and whether a resize
// is under way. A disk grows before the file system on it: then a kubelet is yet to do its part,
// and the claim has its former size until that is done.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/staging/src/k8s.io/api/core/v1/types.go (ClaimResourceStatus)
func Disk(claim *corev1.PersistentVolumeClaim) (size resource.Quantity, resizes bool) {
	size = Size(claim)
	status, resizes := claim.Status.AllocatedResourceStatuses[corev1.ResourceStorage]
	allocated := claim.Status.AllocatedResources[corev1.ResourceStorage]
	if isNodes(status) && allocated.Cmp(size) > 0 {
		size = allocated
	}
	return size, resizes
}

// isNodes reports whether all that is left of a resize is a kubelet's part.
func isNodes(status corev1.ClaimResourceStatus) bool {
	return status == corev1.PersistentVolumeClaimNodeResizePending || status == corev1.PersistentVolumeClaimNodeResizeInProgress ||
		status == corev1.PersistentVolumeClaimNodeResizeInfeasible
}

// Condition returns the condition of a claim of that type, or nil.
func Condition(
	claim *corev1.PersistentVolumeClaim, kind corev1.PersistentVolumeClaimConditionType,
) *corev1.PersistentVolumeClaimCondition {
	for i := range claim.Status.Conditions {
		if claim.Status.Conditions[i].Type == kind {
			return &claim.Status.Conditions[i]
		}
	}
	return nil
}
