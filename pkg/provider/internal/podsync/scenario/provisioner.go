package scenario

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// provide makes a server the remote one, which has a provisioner and a resizer.
func (c *fakeServer) provide() {
	c.controllers.acts = []func(){c.provision, c.expand, c.reclaim, c.unprotect}
}

// diskUnit is of what the provisioner makes volumes: they are hardly ever as large as what
// is requested.
const diskUnit = 4 << 30

// largestDisk is the largest volume that can be had.
const largestDisk = 3 * diskUnit

// provision makes volumes for claims: at once, or when a pod uses them.
func (c *fakeServer) provision() {
	for _, claim := range c.claims() {
		if class := c.classNamed(claim.Spec.StorageClassName); class == nil || claim.Spec.VolumeName != "" || !c.isDue(claim, class) {
			continue
		}
		data, can := c.dataFor(claim)
		if c.stuck() || !can {
			c.tellClaim(claim, "ProvisioningFailed", "no disk is free")
			continue
		}
		name := "disk-" + string(claim.UID)
		volume := c.volumeNamed(name)
		if volume == nil {
			_ = c.add(&corev1.PersistentVolume{
				ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: data},
				Spec: corev1.PersistentVolumeSpec{
					Capacity:                      corev1.ResourceList{corev1.ResourceStorage: diskFor(sizeOf(&claim.Spec))},
					ClaimRef:                      &corev1.ObjectReference{Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
					StorageClassName:              *claim.Spec.StorageClassName,
					AccessModes:                   claim.Spec.AccessModes,
					VolumeMode:                    claim.Spec.VolumeMode,
					PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
				},
			})
			continue
		}
		if c.schedules {
			continue // the volume controller binds it
		}
		volume.Status.Phase = corev1.VolumeBound
		c.putVolume(volume)
		claim.Spec.VolumeName = name
		metav1.SetMetaDataAnnotation(&claim.ObjectMeta, bindCompleted, "yes")
		claim.Status.Phase, claim.Status.AccessModes = corev1.ClaimBound, claim.Spec.AccessModes
		claim.Status.Capacity = volume.Spec.Capacity.DeepCopy()
		c.putClaim(claim)
	}
}

// annotationData is on a volume that began with the data of another one, and names the first
// one with that data.
const annotationData = "example.org/data"

// kindClaim is the kind of the sources of data that the provisioner knows.
const kindClaim = "PersistentVolumeClaim"

// dataFor returns the annotations of a volume for a claim that begins with the data of
// another one, or none. Without that data, or if it is too large, there is no volume.
// https://github.com/kubernetes-csi/external-provisioner/blob/v6.4.0/pkg/controller/controller.go (getPVCSource)
func (c *fakeServer) dataFor(claim *corev1.PersistentVolumeClaim) (annotations map[string]string, can bool) {
	if size := diskFor(sizeOf(&claim.Spec)); size.Value() > largestDisk {
		return nil, false
	}
	if claim.Spec.DataSource == nil {
		return nil, true
	}
	source := c.claimNamed(claim.Namespace, claim.Spec.DataSource.Name)
	if source == nil || source.Status.Phase != corev1.ClaimBound || source.DeletionTimestamp != nil ||
		ptr.Deref(source.Spec.VolumeMode, "") != ptr.Deref(claim.Spec.VolumeMode, "") {
		return nil, false
	}
	volume := c.volumeNamed(source.Spec.VolumeName)
	if volume == nil {
		return nil, false
	}
	return map[string]string{annotationData: cmp.Or(volume.Annotations[annotationData], volume.Name)}, true
}

// isDue reports whether the provisioner has to make a volume for a claim.
func (c *fakeServer) isDue(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) bool {
	switch {
	case class.Provisioner != diskProvisioner:
		return false
	case c.schedules:
		return claim.Annotations[provisioner] == diskProvisioner
	}
	return !isLate(class) || c.isUsed(claim)
}

// diskFor returns the size of the disk for a request.
func diskFor(requested resource.Quantity) resource.Quantity {
	units := (requested.Value() + diskUnit - 1) / diskUnit
	return *resource.NewQuantity(units*diskUnit, resource.BinarySI)
}

// expand grows volumes, as external-resizer and a kubelet do: a file system grows while a
// pod runs that uses it.
func (c *fakeServer) expand() {
	for _, claim := range c.claims() {
		volume := c.volumeNamed(claim.Spec.VolumeName)
		if claim.Status.Phase != corev1.ClaimBound || volume == nil {
			continue
		}
		want, has := diskFor(sizeOf(&claim.Spec)), claim.Status.Capacity[corev1.ResourceStorage]
		disk := volume.Spec.Capacity[corev1.ResourceStorage]
		before := claim.DeepCopy()
		switch {
		case want.Cmp(has) <= 0:
			setResizing(claim, "", "")
		case c.stuck() || want.Value() > largestDisk:
			setResizing(claim, corev1.PersistentVolumeClaimControllerResizeError, corev1.PersistentVolumeClaimControllerResizeInfeasible)
		case want.Cmp(disk) > 0 && !isResizing(claim, corev1.PersistentVolumeClaimResizing):
			setResizing(claim, corev1.PersistentVolumeClaimResizing, corev1.PersistentVolumeClaimControllerResizeInProgress)
		case want.Cmp(disk) > 0:
			volume.Spec.Capacity[corev1.ResourceStorage] = want
			c.putVolume(volume)
		case ptr.Deref(claim.Spec.VolumeMode, "") != corev1.PersistentVolumeBlock && !c.isMounted(claim):
			setResizing(claim, corev1.PersistentVolumeClaimFileSystemResizePending, corev1.PersistentVolumeClaimNodeResizePending)
		default:
			setResizing(claim, "", "")
			claim.Status.Capacity[corev1.ResourceStorage] = disk
		}
		if want.Cmp(has) > 0 {
			claim.Status.AllocatedResources = corev1.ResourceList{corev1.ResourceStorage: want}
		}
		if claim.String() != before.String() {
			c.putClaim(claim)
		}
	}
}

// setResizing sets the one condition and the one status that tell of an expansion, or none.
func setResizing(
	claim *corev1.PersistentVolumeClaim, condition corev1.PersistentVolumeClaimConditionType, status corev1.ClaimResourceStatus,
) {
	claim.Status.Conditions, claim.Status.AllocatedResourceStatuses = nil, nil
	if condition != "" {
		claim.Status.Conditions = []corev1.PersistentVolumeClaimCondition{{Type: condition, Status: corev1.ConditionTrue}}
	}
	if status != "" {
		claim.Status.AllocatedResourceStatuses = map[corev1.ResourceName]corev1.ClaimResourceStatus{corev1.ResourceStorage: status}
	}
}

func isResizing(claim *corev1.PersistentVolumeClaim, condition corev1.PersistentVolumeClaimConditionType) bool {
	return slices.ContainsFunc(claim.Status.Conditions, func(one corev1.PersistentVolumeClaimCondition) bool { return one.Type == condition })
}

// isMounted reports whether a pod runs that uses a claim.
func (c *fakeServer) isMounted(claim *corev1.PersistentVolumeClaim) bool {
	for _, pod := range c.pods() {
		if pod.Namespace == claim.Namespace && pod.Status.Phase == corev1.PodRunning && slices.Contains(claimsOf(&pod), claim.Name) {
			return true
		}
	}
	return false
}

// reclaim deletes the volumes of claims that are gone, with what is in them.
func (c *fakeServer) reclaim() {
	for _, volume := range c.volumes() {
		ref := volume.Spec.ClaimRef
		if volume.Spec.CSI != nil || ref == nil {
			continue // another provisioner's
		}
		if claim := c.claimNamed(ref.Namespace, ref.Name); claim == nil || claim.UID != ref.UID {
			_ = c.storage.Delete(resourceOf(volumes), "", volume.Name)
		}
	}
}

// canMount reports whether the scheduler and the kubelet let a pod run with its claims.
func (c *fakeServer) canMount(pod *corev1.Pod) bool {
	for _, name := range claimsOf(pod) {
		claim := c.claimNamed(pod.Namespace, name)
		if claim == nil || claim.Status.Phase != corev1.ClaimBound || claim.DeletionTimestamp != nil {
			return false
		}
		for _, other := range c.pods() {
			if exclusive(claim) && other.UID != pod.UID && other.Namespace == pod.Namespace && !pending(&other) && !translate.Finished(&other) &&
				slices.Contains(claimsOf(&other), name) {
				return false
			}
		}
	}
	return true
}

// stuck reports whether the provisioner and the resizer fail.
func (c *fakeServer) stuck() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fails
}

// tellClaim records an event on a claim, once.
func (c *fakeServer) tellClaim(claim *corev1.PersistentVolumeClaim, reason, message string) {
	name := claim.Name + "." + string(claim.UID) + "." + reason
	if _, err := c.storage.Get(resourceOf("events"), claim.Namespace, name); err == nil || c.isEnding(claim.Namespace) {
		return
	}
	_ = c.add(&corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: claim.Namespace, Name: name},
		InvolvedObject: corev1.ObjectReference{
			Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
		},
		Reason: reason, Message: message, Type: corev1.EventTypeWarning,
		Source: corev1.EventSource{Component: "provisioner"}, FirstTimestamp: in(0), LastTimestamp: in(0), Count: 1,
	})
}
