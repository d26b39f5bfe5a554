package volume

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// AnnotationProvisionedBy has the provisioner of a PersistentVolume. The local volume
// controller releases a volume that it cannot bind only if it has the annotation.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/volume/persistentvolume/pv_controller.go
const AnnotationProvisionedBy = "pv.kubernetes.io/provisioned-by"

// Remote identifies the remote claim that has the data of a local volume.
type Remote struct {
	// Namespace is the remote namespace.
	Namespace string
	// Claim is the name of the remote claim, which is that of the volume as well.
	Claim string
	// UID is that of the remote claim. Another claim of the same name has other data.
	UID types.UID
	// ClusterUID is the UID of the remote namespace kube-system.
	ClusterUID types.UID
}

// Spec says what a local volume is made of.
type Spec struct {
	// Node is the virtual node, the only one whose pods can use the volume.
	Node string
	// Remote has the data.
	Remote Remote
	// Claim is the local claim that the volume is for. Without UID, the volume waits for
	// a claim of that name, as every PersistentVolume does that is made by hand.
	Claim Claim
	// Class is the local StorageClass, or empty as in the claim.
	Class string
	// AccessModes are those of the claim.
	AccessModes []corev1.PersistentVolumeAccessMode
	// Mode is the volume mode; nil means Filesystem, as in a claim.
	Mode *corev1.PersistentVolumeMode
	// Capacity is what the remote claim really has, or what it asks for until it is bound.
	Capacity resource.Quantity
	// Reclaim is the policy of the class. Empty means Retain, with which nothing is
	// deleted: the default of Kubernetes for volumes of no class.
	Reclaim corev1.PersistentVolumeReclaimPolicy
}

// Claim identifies a local claim.
type Claim struct {
	Namespace string
	Name      string
	UID       types.UID
}

// New returns the local volume. Its name is that of the remote claim. The source, which
// nobody can change, ties it to one remote claim for life.
func New(spec Spec) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        spec.Remote.Claim,
			Labels:      map[string]string{contract.LabelNodeName: spec.Node},
			Annotations: map[string]string{AnnotationProvisionedBy: contract.StorageDriver},
			Finalizers:  []string{contract.FinalizerRemoteClaim},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: spec.Capacity},
			AccessModes:                   append([]corev1.PersistentVolumeAccessMode(nil), spec.AccessModes...),
			ClaimRef:                      claimRef(spec.Claim),
			PersistentVolumeReclaimPolicy: reclaimOf(spec.Reclaim),
			StorageClassName:              spec.Class,
			VolumeMode:                    modeOf(spec.Mode),
			NodeAffinity:                  affinity(spec.Node),
			PersistentVolumeSource:        corev1.PersistentVolumeSource{CSI: source(spec.Remote)},
		},
	}
}

// Of returns the node and the remote claim of a local volume. It is false if the volume is
// not AK's, or tells no remote claim. An adopted UID is not looked at; see Adopted.
func Of(volume *corev1.PersistentVolume) (node string, remote Remote, ok bool) {
	csi := volume.Spec.CSI
	if csi == nil || csi.Driver != contract.StorageDriver {
		return "", Remote{}, false
	}
	remote.Namespace, remote.Claim, ok = contract.ParseVolumeHandle(csi.VolumeHandle)
	if !ok {
		return "", Remote{}, false
	}
	remote.UID = types.UID(csi.VolumeAttributes[contract.AttributeRemoteUID])
	remote.ClusterUID = types.UID(csi.VolumeAttributes[contract.AttributeRemoteClusterUID])
	return volume.Labels[contract.LabelNodeName], remote, true
}

// Adopted returns the UID that the remote claim of the volume must have now: the one that
// a person has set, otherwise the one of the source.
func Adopted(volume *corev1.PersistentVolume) types.UID {
	if adopted := volume.Annotations[contract.AnnotationAdoptedUID]; adopted != "" {
		return types.UID(adopted)
	}
	_, remote, _ := Of(volume)
	return remote.UID
}

func claimRef(claim Claim) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: "v1",
		Kind:       "PersistentVolumeClaim",
		Namespace:  claim.Namespace,
		Name:       claim.Name,
		UID:        claim.UID,
	}
}

// affinity leads the pods of the volume to the node. Its label cannot be configured,
// because the affinity of a volume cannot be changed.
func affinity(node string) *corev1.VolumeNodeAffinity {
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key:      contract.LabelNodeName,
			Operator: corev1.NodeSelectorOpIn,
			Values:   []string{node},
		}},
	}}}}
}

func source(remote Remote) *corev1.CSIPersistentVolumeSource {
	return &corev1.CSIPersistentVolumeSource{
		Driver:       contract.StorageDriver,
		VolumeHandle: contract.VolumeHandle(remote.Namespace, remote.Claim),
		VolumeAttributes: map[string]string{
			contract.AttributeRemoteUID:        string(remote.UID),
			contract.AttributeRemoteClusterUID: string(remote.ClusterUID),
		},
	}
}

func reclaimOf(policy corev1.PersistentVolumeReclaimPolicy) corev1.PersistentVolumeReclaimPolicy {
	if policy == "" {
		return corev1.PersistentVolumeReclaimRetain
	}
	return policy
}

func modeOf(mode *corev1.PersistentVolumeMode) *corev1.PersistentVolumeMode {
	if mode != nil {
		return new(*mode)
	}
	return new(corev1.PersistentVolumeFilesystem)
}

// IsHeld reports whether akd's finalizer is on a volume.
func IsHeld(volume *corev1.PersistentVolume) bool {
	return slices.Contains(volume.Finalizers, contract.FinalizerRemoteClaim)
}
