package storage

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
)

// Volume is a volume whose data is in the remote cluster: an item of a VolumeList and of
// a ClaimLocationList.
type Volume struct {
	// Namespace and Claim are the local claim: the one that uses the volume, or the last
	// one that did.
	Namespace string `json:"namespace,omitempty"`
	Claim     string `json:"claim,omitempty"`
	// Node is the virtual node.
	Node string `json:"node,omitempty"`
	// Actual says that the data is, or will be, in the remote cluster. If it does not, the
	// claim is one of the local cluster's own storage, and only Namespace and Claim are set.
	Actual  bool   `json:"actual"`
	State   State  `json:"state,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Volume is the local PersistentVolume.
	Volume      string `json:"volume,omitempty"`
	VolumePhase string `json:"volumePhase,omitempty"`
	Class       string `json:"storageClass,omitempty"`
	Capacity    string `json:"capacity,omitempty"`

	RemoteNamespace string `json:"remoteNamespace,omitempty"`
	RemoteClaim     string `json:"remoteClaim,omitempty"`
	// RemoteUID is the UID that the remote claim has to have.
	RemoteUID string `json:"remoteUID,omitempty"`
	// What follows is read from the remote cluster, if it was named.
	RemotePhase  string `json:"remotePhase,omitempty"`
	RemoteVolume string `json:"remoteVolume,omitempty"`
	RemoteClass  string `json:"remoteStorageClass,omitempty"`
	// RemotePods use the remote claim, and have not ended. Only where tells them.
	RemotePods []RemotePod `json:"remotePods,omitempty"`
}

// RemotePod is a remote pod that uses a remote claim.
type RemotePod struct {
	Name string `json:"name"`
	Node string `json:"node,omitempty"`
}

// ofVolume describes a local PersistentVolume of AK. claim is the local claim that is
// bound to it, or nil.
func ofVolume(pv *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim, remote answer) Volume {
	node, place, _ := volume.Of(pv)
	v := Volume{
		Node:            node,
		Actual:          true,
		Volume:          pv.Name,
		VolumePhase:     string(pv.Status.Phase),
		Class:           pv.Spec.StorageClassName,
		Capacity:        pv.Spec.Capacity.Storage().String(),
		RemoteNamespace: place.Namespace,
		RemoteClaim:     place.Claim,
		RemoteUID:       string(volume.Adopted(pv)),
	}
	if ref := pv.Spec.ClaimRef; ref != nil {
		v.Namespace, v.Claim = ref.Namespace, ref.Name
	}
	v.verdict(stateOf(pv, claim, remote))
	v.addRemote(remote)
	return v
}

// ofPending describes a local claim of AK that has no PersistentVolume yet. The name of
// the remote namespace is the usual one: akd takes another in the rare case that this one
// serves another local namespace.
func ofPending(claim *corev1.PersistentVolumeClaim, remote answer) Volume {
	v := Volume{
		Namespace: claim.Namespace,
		Claim:     claim.Name,
		Node:      claim.Annotations[volume.AnnotationSelectedNode],
		Actual:    true,
		Class:     classOf(claim),
		Capacity:  claim.Spec.Resources.Requests.Storage().String(),
	}
	if v.Node != "" {
		place := placeOf(claim)
		v.RemoteNamespace, v.RemoteClaim = place.Namespace, place.Claim
	}
	v.State, v.Reason, v.Message = Waiting, reasonNoVolume, "no pod has used the claim yet, or akd has not provisioned it"
	v.addRemote(remote)
	return v
}

// ofRemote describes a remote claim that no local PersistentVolume leads to.
func ofRemote(node, namespace string, claim *corev1.PersistentVolumeClaim) Volume {
	capacity := volume.Size(claim)
	v := Volume{
		Namespace:       namespace,
		Claim:           claim.Annotations[contract.AnnotationClaim],
		Node:            node,
		Actual:          true,
		Capacity:        capacity.String(),
		RemoteNamespace: claim.Namespace,
		RemoteClaim:     claim.Name,
	}
	v.verdict(stateOfRemote(claim))
	v.addRemote(answer{known: true, claim: claim})
	return v
}

func (v *Volume) verdict(state State, reason, message string) {
	v.State, v.Reason, v.Message = state, reason, message
}

// addRemote adds what the remote cluster says of the remote claim.
func (v *Volume) addRemote(remote answer) {
	switch {
	case !remote.known:
		return
	case remote.claim == nil:
		v.RemotePhase = "NotFound"
		return
	}
	v.RemotePhase, v.RemoteVolume = string(remote.claim.Status.Phase), remote.claim.Spec.VolumeName
	v.RemoteUID, v.RemoteClass = cmp.Or(v.RemoteUID, string(remote.claim.UID)), classOf(remote.claim)
	if remote.claim.DeletionTimestamp != nil {
		v.RemotePhase = "Terminating"
	}
}

// handle is where the remote claim is.
func (v *Volume) handle() string { return contract.VolumeHandle(v.RemoteNamespace, v.RemoteClaim) }

// sorted sorts volumes by their local claims.
func sorted(volumes []Volume) []Volume {
	slices.SortStableFunc(volumes, func(a, b Volume) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Claim, b.Claim), cmp.Compare(a.RemoteClaim, b.RemoteClaim))
	})
	return volumes
}
