package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
)

// The finalizers that the admission of an API server gives to claims and volumes.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/plugin/pkg/admission/storage/storageobjectinuseprotection
const (
	claimProtection  = "kubernetes.io/pvc-protection"
	volumeProtection = "kubernetes.io/pv-protection"
)

const (
	claims  = "persistentvolumeclaims"
	volumes = "persistentvolumes"
	classes = "storageclasses"
)

// isStored reports whether objects of a resource have a status of their own, and go only
// when no finalizer holds them.
func isStored(resource string) bool { return resource == claims || resource == volumes }

// serveStored does what is requested of claims and volumes.
func (c *fakeServer) serveStored(action clienttesting.Action) (bool, runtime.Object, error) {
	if deletion, deletes := action.(clienttesting.DeleteActionImpl); deletes {
		return true, nil, c.deleteStored(action.GetResource(), deletion.Namespace, deletion.Name)
	}
	return clienttesting.ObjectReaction(&guarded{storage: c.storage, subresource: action.GetSubresource()})(action)
}

// deleteStored deletes a claim or a volume, or marks it while finalizers hold it.
func (c *fakeServer) deleteStored(resource schema.GroupVersionResource, namespace, name string) error {
	found, err := c.storage.Get(resource, namespace, name)
	if err != nil {
		return err
	}
	meta, err := apimeta.Accessor(found)
	if err != nil {
		return err
	}
	if len(meta.GetFinalizers()) == 0 {
		return c.storage.Delete(resource, namespace, name)
	}
	if meta.GetDeletionTimestamp() != nil {
		return nil
	}
	meta.SetDeletionTimestamp(new(in(0)))
	meta.SetDeletionGracePeriodSeconds(new(int64(0)))
	return c.storage.Update(resource, found, namespace)
}

// guarded is the storage as a request to change a claim or a volume sees it.
type guarded struct {
	*storage

	subresource string
	written     runtime.Object
}

// Get implements clienttesting.ObjectTracker. What the request itself has removed, with
// the last finalizer, is part of its answer.
func (g *guarded) Get(
	resource schema.GroupVersionResource, namespace, name string, options ...metav1.GetOptions,
) (runtime.Object, error) {
	found, err := g.storage.Get(resource, namespace, name, options...)
	if apierrors.IsNotFound(err) && g.written != nil {
		return g.written, nil
	}
	return found, err
}

// Update implements clienttesting.ObjectTracker.
func (g *guarded) Update(resource schema.GroupVersionResource, obj runtime.Object, namespace string, _ ...metav1.UpdateOptions) error {
	return g.change(resource, obj, namespace)
}

// Patch implements clienttesting.ObjectTracker.
func (g *guarded) Patch(resource schema.GroupVersionResource, obj runtime.Object, namespace string, _ ...metav1.PatchOptions) error {
	return g.change(resource, obj, namespace)
}

func (g *guarded) change(resource schema.GroupVersionResource, obj runtime.Object, namespace string) error {
	last, err := g.storage.Get(resource, namespace, nameOf(obj))
	if err != nil {
		return err
	}
	if err := g.admits(last, obj); err != nil {
		return err
	}
	if err := g.storage.Update(resource, obj, namespace); err != nil {
		return err
	}
	g.written = obj
	return nil
}

// admits returns an error if the state of a claim or a volume may not follow the last one,
// and takes over what the request does not change.
func (g *guarded) admits(last, obj runtime.Object) error {
	switch now := obj.(type) {
	case *corev1.PersistentVolumeClaim:
		was, is := last.(*corev1.PersistentVolumeClaim)
		if !is {
			return fmt.Errorf("the storage has a %T for a claim", last)
		}
		if g.subresource == "status" {
			now.Spec = was.Spec
			return nil
		}
		now.Status = was.Status
		return cmp.Or(validClaim(was, now), g.admitsGrowth(was, now))
	case *corev1.PersistentVolume:
		was, is := last.(*corev1.PersistentVolume)
		if !is {
			return fmt.Errorf("the storage has a %T for a volume", last)
		}
		if g.subresource == "status" {
			now.Spec = was.Spec
			return nil
		}
		now.Status = was.Status
		return validVolume(was, now)
	}
	return nil
}

// validVolume is what ValidatePersistentVolumeUpdate says.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/apis/core/validation/validation.go
func validVolume(was, now *corev1.PersistentVolume) error {
	var wrong field.ErrorList
	if !apiequality.Semantic.DeepEqual(was.Spec.PersistentVolumeSource, now.Spec.PersistentVolumeSource) {
		wrong = append(wrong, field.Forbidden(field.NewPath("spec", "persistentvolumesource"),
			"spec.persistentvolumesource is immutable after creation"))
	}
	if was.Spec.NodeAffinity != nil && !apiequality.Semantic.DeepEqual(was.Spec.NodeAffinity, now.Spec.NodeAffinity) {
		wrong = append(wrong, field.Invalid(field.NewPath("nodeAffinity"), "", "field is immutable"))
	}
	if !ptr.Equal(was.Spec.VolumeMode, now.Spec.VolumeMode) {
		wrong = append(wrong, field.Invalid(field.NewPath("volumeMode"), "", "field is immutable"))
	}
	return invalid("PersistentVolume", now.Name, wrong)
}

// validClaim is what ValidatePersistentVolumeClaimUpdate says; see validVolume.
func validClaim(was, now *corev1.PersistentVolumeClaim) error {
	var wrong field.ErrorList
	before, after := was.Spec.DeepCopy(), now.Spec.DeepCopy()
	if before.VolumeName == "" {
		before.VolumeName = after.VolumeName
	}
	if was.Status.Phase == corev1.ClaimBound {
		before.Resources.Requests = after.Resources.Requests
	}
	if !apiequality.Semantic.DeepEqual(before, after) {
		wrong = append(wrong, field.Forbidden(field.NewPath("spec"),
			"spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"))
	}
	if size := sizeOf(&now.Spec); size.Cmp(sizeOf(&was.Spec)) < 0 && size.Cmp(was.Status.Capacity[corev1.ResourceStorage]) <= 0 {
		wrong = append(wrong, field.Forbidden(field.NewPath("spec", "resources", "requests", "storage"),
			"field can not be less than status.capacity"))
	}
	if !ptr.Equal(was.Spec.VolumeMode, now.Spec.VolumeMode) {
		wrong = append(wrong, field.Invalid(field.NewPath("volumeMode"), "", "field is immutable"))
	}
	return invalid("PersistentVolumeClaim", now.Name, wrong)
}

// admitsGrowth is what the admission plugin PersistentVolumeClaimResize says.
func (g *guarded) admitsGrowth(was, now *corev1.PersistentVolumeClaim) error {
	refused := func(why string) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: claims}, now.Name, errors.New(why))
	}
	size := sizeOf(&now.Spec)
	if size.Cmp(sizeOf(&was.Spec)) <= 0 {
		return nil
	}
	if was.Status.Phase != corev1.ClaimBound {
		return refused("Only bound persistent volume claims can be expanded")
	}
	found, err := g.storage.Get(resourceOf(classes), "", ptr.Deref(now.Spec.StorageClassName, ""))
	if class, is := found.(*storagev1.StorageClass); err != nil || !is || !ptr.Deref(class.AllowVolumeExpansion, false) {
		return refused("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize")
	}
	return nil
}

func invalid(kind, name string, wrong field.ErrorList) error {
	if len(wrong) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Kind: kind}, name, wrong)
}

// sizeOf is how much storage a claim requests.
func sizeOf(spec *corev1.PersistentVolumeClaimSpec) resource.Quantity {
	return spec.Resources.Requests[corev1.ResourceStorage]
}

// protect gives new claims and volumes what an API server gives them.
func protect(obj runtime.Object) {
	switch obj := obj.(type) {
	case *corev1.PersistentVolumeClaim:
		obj.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
		obj.Spec.VolumeMode = new(ptr.Deref(obj.Spec.VolumeMode, corev1.PersistentVolumeFilesystem))
		if source := obj.Spec.DataSource; source != nil {
			obj.Spec.DataSourceRef = &corev1.TypedObjectReference{Kind: source.Kind, Name: source.Name}
		}
		hold(&obj.ObjectMeta, claimProtection)
	case *corev1.PersistentVolume:
		obj.Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumePending}
		obj.Spec.VolumeMode = new(ptr.Deref(obj.Spec.VolumeMode, corev1.PersistentVolumeFilesystem))
		hold(&obj.ObjectMeta, volumeProtection)
	}
}

func hold(meta *metav1.ObjectMeta, finalizer string) {
	if !slices.Contains(meta.Finalizers, finalizer) {
		meta.Finalizers = append(meta.Finalizers, finalizer)
	}
}

func letGo(meta *metav1.ObjectMeta, finalizer string) {
	meta.Finalizers = slices.DeleteFunc(meta.Finalizers, func(one string) bool { return one == finalizer })
}

// all returns copies of all objects of a resource.
func all[T runtime.Object](c *fakeServer, resource string) []T {
	var found []T
	for _, object := range c.storage.in(metav1.NamespaceAll, resourceOf(resource)) {
		if one, is := object.DeepCopyObject().(T); is {
			found = append(found, one)
		}
	}
	return found
}

func (c *fakeServer) claims() []*corev1.PersistentVolumeClaim {
	return all[*corev1.PersistentVolumeClaim](c, claims)
}

func (c *fakeServer) volumes() []*corev1.PersistentVolume {
	return all[*corev1.PersistentVolume](c, volumes)
}

// claimNamed returns a copy of a claim, or nil.
func (c *fakeServer) claimNamed(namespace, name string) *corev1.PersistentVolumeClaim {
	found, err := c.storage.Get(resourceOf(claims), namespace, name)
	claim, is := found.(*corev1.PersistentVolumeClaim)
	if err != nil || !is {
		return nil
	}
	return claim
}

// volumeNamed returns a copy of a volume, or nil.
func (c *fakeServer) volumeNamed(name string) *corev1.PersistentVolume {
	found, err := c.storage.Get(resourceOf(volumes), "", name)
	volume, is := found.(*corev1.PersistentVolume)
	if err != nil || !is {
		return nil
	}
	return volume
}

// classNamed returns a copy of a StorageClass, or nil.
func (c *fakeServer) classNamed(name *string) *storagev1.StorageClass {
	found, err := c.storage.Get(resourceOf(classes), "", ptr.Deref(name, ""))
	class, is := found.(*storagev1.StorageClass)
	if err != nil || !is {
		return nil
	}
	return class
}

// putClaim writes a claim as a controller does, which knows what it does.
func (c *fakeServer) putClaim(claim *corev1.PersistentVolumeClaim) {
	_ = c.storage.Update(resourceOf(claims), claim, claim.Namespace)
}

func (c *fakeServer) putVolume(volume *corev1.PersistentVolume) {
	_ = c.storage.Update(resourceOf(volumes), volume, "")
}

// claimsOf returns the names of the claims that a pod uses, which may be its own.
func claimsOf(pod *corev1.Pod) []string {
	var names []string
	for i := range pod.Spec.Volumes {
		switch volume := &pod.Spec.Volumes[i]; {
		case volume.PersistentVolumeClaim != nil:
			names = append(names, volume.PersistentVolumeClaim.ClaimName)
		case volume.Ephemeral != nil:
			names = append(names, pod.Name+"-"+volume.Name)
		}
	}
	return names
}

// isUsed reports whether a pod for which a node is chosen uses a claim. A fake remote
// cluster chooses none.
func (c *fakeServer) isUsed(claim *corev1.PersistentVolumeClaim) bool {
	for _, pod := range c.pods() {
		if pod.Namespace == claim.Namespace && !c.awaitsNode(&pod) && slices.Contains(claimsOf(&pod), claim.Name) {
			return true
		}
	}
	return false
}

// awaitsNode reports whether no node has been chosen for a pod.
func (c *fakeServer) awaitsNode(pod *corev1.Pod) bool { return c.schedules && pod.Spec.NodeName == "" }

// owner returns the UID of the pod that owns a claim, or an empty string.
func owner(claim *corev1.PersistentVolumeClaim) types.UID {
	if controller := metav1.GetControllerOf(claim); controller != nil {
		return controller.UID
	}
	return ""
}

// exclusive reports whether only one pod may use a claim.
func exclusive(claim *corev1.PersistentVolumeClaim) bool {
	return slices.Contains(claim.Spec.AccessModes, corev1.ReadWriteOncePod)
}
