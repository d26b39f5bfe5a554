package scenario

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// Annotations by which Kubernetes' own parties speak to each other.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/staging/src/k8s.io/component-helpers/storage/volume/pv_helpers.go
const (
	bindCompleted   = "pv.kubernetes.io/bind-completed"
	provisionedBy   = "pv.kubernetes.io/provisioned-by"
	provisioner     = "volume.kubernetes.io/storage-provisioner"
	provisionerBeta = "volume.beta.kubernetes.io/storage-provisioner"
	selectedNode    = "volume.kubernetes.io/selected-node"
)

// conditionUnused is somebody else's condition, which Kubernetes sets, and which stays.
const conditionUnused corev1.PersistentVolumeClaimConditionType = "Unused"

// schedule makes a server the local one, which has a scheduler, a volume controller and a
// garbage collector.
func (c *fakeServer) schedule() {
	c.schedules = true
	c.controllers.acts = []func(){
		c.makeEphemeral, c.choose, c.provision, c.provideElsewhere, c.bindClaims, c.releaseVolumes, c.reclaim, c.unprotect, c.collect,
	}
}

// makeEphemeral makes the claims of generic ephemeral volumes.
func (c *fakeServer) makeEphemeral() {
	for _, pod := range c.pods() {
		for i := range pod.Spec.Volumes {
			volume := &pod.Spec.Volumes[i]
			name := pod.Name + "-" + volume.Name
			if volume.Ephemeral == nil || pod.DeletionTimestamp != nil || c.claimNamed(pod.Namespace, name) != nil {
				continue
			}
			claim := &corev1.PersistentVolumeClaim{
				ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: name, OwnerReferences: []metav1.OwnerReference{{
					APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID, Controller: new(true), BlockOwnerDeletion: new(true),
				}}},
				Spec: *volume.Ephemeral.VolumeClaimTemplate.Spec.DeepCopy(),
			}
			_ = c.add(claim)
		}
	}
}

// collect deletes the claims of pods that are gone, as the garbage collector does.
func (c *fakeServer) collect() {
	there := map[types.UID]bool{}
	for _, pod := range c.pods() {
		there[pod.UID] = true
	}
	for _, claim := range c.claims() {
		if uid := owner(claim); uid != "" && !there[uid] {
			_ = c.deleteStored(resourceOf(claims), claim.Namespace, claim.Name)
		}
	}
}

// choose is the scheduler: it asks for volumes on the node, and binds a pod once it has
// them.
func (c *fakeServer) choose() {
	for _, pod := range c.pods() {
		if !c.awaitsNode(&pod) || pod.DeletionTimestamp != nil {
			continue
		}
		node := c.nodeFor(&pod)
		if node == "" || !c.hasVolumes(&pod, node) {
			continue
		}
		bound := pod.DeepCopy()
		bound.Spec.NodeName = node
		bound.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
		_ = c.storage.Update(resourceOf("pods"), bound, pod.Namespace)
		c.mu.Lock()
		c.born[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = time.Now()
		c.mu.Unlock()
	}
}

// hasVolumes reports whether all claims of a pod are bound. It selects the node for those
// that wait for that.
func (c *fakeServer) hasVolumes(pod *corev1.Pod, node string) bool {
	has := true
	for _, name := range claimsOf(pod) {
		claim := c.claimNamed(pod.Namespace, name)
		switch {
		case claim == nil || claim.DeletionTimestamp != nil || owner(claim) != "" && owner(claim) != pod.UID:
			return false
		case exclusive(claim) && c.isTaken(claim):
			return false
		case metav1.HasAnnotation(claim.ObjectMeta, bindCompleted):
			has = has && c.volumeNamed(claim.Spec.VolumeName) != nil
		default:
			has = false
			if class := c.classNamed(claim.Spec.StorageClassName); class != nil && isLate(class) && claim.Annotations[selectedNode] == "" {
				metav1.SetMetaDataAnnotation(&claim.ObjectMeta, selectedNode, node)
				c.putClaim(claim)
			}
		}
	}
	return has
}

// isTaken reports whether a pod uses a claim that has a node and has not ended.
func (c *fakeServer) isTaken(claim *corev1.PersistentVolumeClaim) bool {
	return slices.ContainsFunc(c.pods(), func(pod corev1.Pod) bool {
		return pod.Namespace == claim.Namespace && !c.awaitsNode(&pod) && !translate.Finished(&pod) && slices.Contains(claimsOf(&pod), claim.Name)
	})
}

// isLate reports whether volumes of a class are made for the first pod that uses them.
func isLate(class *storagev1.StorageClass) bool {
	return ptr.Deref(class.VolumeBindingMode, "") == storagev1.VolumeBindingWaitForFirstConsumer
}

// bindClaims is the part of the volume controller that has to do with claims.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/volume/persistentvolume/pv_controller.go (syncClaim)
func (c *fakeServer) bindClaims() {
	for _, claim := range c.claims() {
		volume := c.volumeFor(claim)
		switch {
		case metav1.HasAnnotation(claim.ObjectMeta, bindCompleted) && (volume == nil || !isFor(volume, claim)):
			claim.Status.Phase, claim.Status.Capacity, claim.Status.AccessModes = corev1.ClaimLost, nil, nil
			c.putClaim(claim)
		case volume != nil:
			c.bind(volume, claim)
		case claim.Spec.VolumeName == "":
			c.demand(claim)
		}
	}
}

// volumeFor returns the volume to which a claim is bound, or can be, or nil.
func (c *fakeServer) volumeFor(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	if claim.Spec.VolumeName != "" {
		volume := c.volumeNamed(claim.Spec.VolumeName)
		if volume != nil && !metav1.HasAnnotation(claim.ObjectMeta, bindCompleted) && !isFor(volume, claim) {
			return nil
		}
		return volume
	}
	for _, volume := range c.volumes() {
		capacity := volume.Spec.Capacity[corev1.ResourceStorage]
		if isFor(volume, claim) && volume.DeletionTimestamp == nil && capacity.Cmp(sizeOf(&claim.Spec)) >= 0 &&
			ptr.Deref(volume.Spec.VolumeMode, "") == ptr.Deref(claim.Spec.VolumeMode, "") {
			return volume
		}
	}
	return nil
}

// isFor reports whether a volume is for a claim, by its UID if it has one.
func isFor(volume *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) bool {
	ref := volume.Spec.ClaimRef
	return ref != nil && ref.Namespace == claim.Namespace && ref.Name == claim.Name && (ref.UID == "" || ref.UID == claim.UID)
}

// bind does the next of the steps by which a volume and a claim are bound.
func (c *fakeServer) bind(volume *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) {
	switch {
	case volume.Spec.ClaimRef.UID != claim.UID:
		volume.Spec.ClaimRef.UID = claim.UID
		c.putVolume(volume)
	case volume.Status.Phase != corev1.VolumeBound:
		volume.Status.Phase = corev1.VolumeBound
		c.putVolume(volume)
	case !metav1.HasAnnotation(claim.ObjectMeta, bindCompleted):
		claim.Spec.VolumeName = volume.Name
		metav1.SetMetaDataAnnotation(&claim.ObjectMeta, bindCompleted, "yes")
		c.putClaim(claim)
	case claim.Status.Phase != corev1.ClaimBound:
		claim.Status.Phase = corev1.ClaimBound
		claim.Status.AccessModes = volume.Spec.AccessModes
		claim.Status.Capacity = volume.Spec.Capacity.DeepCopy()
		if !slices.ContainsFunc(claim.Status.Conditions, isUnused) {
			claim.Status.Conditions = append(claim.Status.Conditions,
				corev1.PersistentVolumeClaimCondition{Type: conditionUnused, Status: corev1.ConditionTrue})
		}
		c.putClaim(claim)
	}
}

func isUnused(condition corev1.PersistentVolumeClaimCondition) bool {
	return condition.Type == conditionUnused
}

// demand asks the provisioner of a claim's class for a volume, once a node has been
// selected if the class waits for one.
func (c *fakeServer) demand(claim *corev1.PersistentVolumeClaim) {
	class := c.classNamed(claim.Spec.StorageClassName)
	if class == nil || isLate(class) && claim.Annotations[selectedNode] == "" || claim.Annotations[provisioner] == class.Provisioner {
		return
	}
	metav1.SetMetaDataAnnotation(&claim.ObjectMeta, provisionerBeta, class.Provisioner)
	metav1.SetMetaDataAnnotation(&claim.ObjectMeta, provisioner, class.Provisioner)
	c.putClaim(claim)
}

// releaseVolumes is the part of the volume controller that has to do with volumes. What
// becomes of the released ones is up to their provisioner. See bindClaims (syncVolume).
func (c *fakeServer) releaseVolumes() {
	for _, volume := range c.volumes() {
		phase := volume.Status.Phase
		if ref := volume.Spec.ClaimRef; ref == nil || ref.UID == "" {
			volume.Status.Phase = corev1.VolumeAvailable
		} else {
			claim := c.claimNamed(ref.Namespace, ref.Name)
			switch {
			case phase == corev1.VolumeReleased || phase == corev1.VolumeFailed:
			case claim == nil || claim.UID != ref.UID:
				volume.Status.Phase = corev1.VolumeReleased
			case claim.Spec.VolumeName == "":
			case claim.Spec.VolumeName == volume.Name:
				volume.Status.Phase = corev1.VolumeBound
			case metav1.HasAnnotation(volume.ObjectMeta, provisionedBy) &&
				volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete:
				volume.Status.Phase = corev1.VolumeReleased
			}
		}
		if volume.Status.Phase != phase {
			c.putVolume(volume)
		}
	}
}

// unprotect lets claims go that no pod uses, and volumes that are not bound.
func (c *fakeServer) unprotect() {
	for _, claim := range c.claims() {
		if claim.DeletionTimestamp != nil && slices.Contains(claim.Finalizers, claimProtection) && !c.isUsed(claim) {
			letGo(&claim.ObjectMeta, claimProtection)
			c.putClaim(claim)
		}
	}
	for _, volume := range c.volumes() {
		if volume.DeletionTimestamp != nil && slices.Contains(volume.Finalizers, volumeProtection) && volume.Status.Phase != corev1.VolumeBound {
			letGo(&volume.ObjectMeta, volumeProtection)
			c.putVolume(volume)
		}
	}
}
