package contract

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// StorageDriver is the provisioner of the local StorageClasses whose volumes are in the
// remote cluster, and the CSI driver of these volumes. No machine serves the driver: a
// kubelet that gets a pod with such a volume mounts nothing.
const StorageDriver = "actual.vk"

// ParameterRemoteClass is the parameter of a local StorageClass that has the name of the
// StorageClass of the remote claims.
const ParameterRemoteClass = Domain + "remote-class"

// Attributes of the source of a local PersistentVolume, which nobody can change.
const (
	// AttributeRemoteUID is the UID of the remote claim: a volume has the same one for life.
	AttributeRemoteUID = Domain + "remote-uid"
	// AttributeRemoteClusterUID is the UID of the remote namespace kube-system, which
	// identifies the remote cluster.
	AttributeRemoteClusterUID = Domain + "remote-cluster-uid"
)

// AnnotationAdoptedUID is the annotation of a local PersistentVolume with the UID of a remote
// claim that replaces the one of AttributeRemoteUID. Only a person sets it.
const AnnotationAdoptedUID = Domain + "adopted-uid"

// FinalizerRemoteClaim keeps a local PersistentVolume until akd has decided about the
// remote claim.
const FinalizerRemoteClaim = Domain + "remote-claim"

// WithoutRemoteClaim returns the strategic merge patch that takes FinalizerRemoteClaim off the
// local PersistentVolume of that UID, and off no other. It leaves the finalizers of others.
func WithoutRemoteClaim(uid types.UID) []byte { return withoutFinalizer(uid, FinalizerRemoteClaim) }

// Annotations of remote PersistentVolumeClaims.
const (
	// AnnotationClaim is the name of the local claim. A label has no room for it.
	AnnotationClaim = Domain + "claim"
	// AnnotationVolume is the UID of the local PersistentVolume. A remote claim without
	// it was never used by a pod: it is empty.
	AnnotationVolume = Domain + "volume"
)

// LabelVolumePrefix and the name of a remote claim are the key of a label of the remote pods
// that use the claim, if one machine at a time can mount it.
const LabelVolumePrefix = "volume." + Domain

// ConditionRemoteBound is the condition of a local PersistentVolumeClaim that reports whether
// its remote claim is there and has a volume.
const ConditionRemoteBound corev1.PersistentVolumeClaimConditionType = Domain + "RemoteBound"

// VolumeName returns the name of the local PersistentVolume, and of the remote
// PersistentVolumeClaim, of the local claim with the given UID. A claim that is created
// again has another one.
func VolumeName(claim types.UID) string { return volumePrefix + string(claim) }

// ClaimUID is the inverse of VolumeName. It is empty if the name is another one.
func ClaimUID(volume string) types.UID {
	uid, ok := strings.CutPrefix(volume, volumePrefix)
	if !ok {
		return ""
	}
	return types.UID(uid)
}

const volumePrefix = "pvc-"

// VolumeHandle returns the handle of a local PersistentVolume: where its remote claim is.
func VolumeHandle(remoteNamespace, remoteClaim string) string {
	return remoteNamespace + "/" + remoteClaim
}

// ParseVolumeHandle is the inverse of VolumeHandle.
func ParseVolumeHandle(handle string) (remoteNamespace, remoteClaim string, ok bool) {
	remoteNamespace, remoteClaim, ok = strings.Cut(handle, "/")
	return remoteNamespace, remoteClaim, ok && remoteNamespace != "" && remoteClaim != ""
}
