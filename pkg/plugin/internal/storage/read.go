package storage

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// pageSize is how many objects a list request asks for, as kubectl get does.
const pageSize = 500

// List returns the volumes of a node, or of all nodes if node is empty. Without the remote
// cluster, it has no orphans, and of lost volumes only those that akd tells of.
func List(ctx context.Context, both kubeclient.Clusters, node string) ([]Volume, error) {
	pvs, err := localVolumes(ctx, both.Local, node)
	if err != nil {
		return nil, err
	}
	local, err := localClaims(ctx, both.Local)
	if err != nil {
		return nil, err
	}
	remote, err := listRemote(ctx, both, node)
	if err != nil {
		return nil, err
	}
	var volumes []Volume
	for i := range pvs {
		_, place, _ := volume.Of(&pvs[i])
		answer, err := remote.ask(ctx, place)
		if err != nil {
			return nil, err
		}
		volumes = append(volumes, ofVolume(&pvs[i], local.boundTo(&pvs[i]), answer))
	}
	for _, claim := range local {
		if !isPending(claim) || node != "" && claim.Annotations[volume.AnnotationSelectedNode] != node {
			continue
		}
		volumes = append(volumes, ofPending(claim, remote.listed(claim)))
	}
	others, err := remote.others(ctx, both.Local, volumes)
	return sorted(append(volumes, others...)), err
}

// OfClaim returns the volume of a local claim, and the remote pods that use it if the
// remote cluster was named.
func OfClaim(ctx context.Context, both kubeclient.Clusters, claim *corev1.PersistentVolumeClaim) (Volume, error) {
	v, err := ofClaim(ctx, both, claim)
	if err != nil {
		return v, err
	}
	return v, v.addPods(ctx, both.Remote)
}

func ofClaim(ctx context.Context, both kubeclient.Clusters, claim *corev1.PersistentVolumeClaim) (Volume, error) {
	remote := remoteOf(both)
	if claim.Spec.VolumeName == "" {
		if !isPending(claim) && !hasOurClass(ctx, both.Local, claim) {
			return Volume{Namespace: claim.Namespace, Claim: claim.Name}, nil
		}
		answer, err := remote.askPending(ctx, claim)
		return ofPending(claim, answer), err
	}
	pv, err := both.Local.Client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return ofUnread(claim, apierrors.IsNotFound(err)), nil
	}
	if err != nil {
		return Volume{}, err
	}
	_, place, ours := volume.Of(pv)
	if !ours {
		return Volume{Namespace: claim.Namespace, Claim: claim.Name}, nil
	}
	answer, err := remote.ask(ctx, place)
	return ofVolume(pv, claim, answer), err
}

// ofUnread describes a claim whose PersistentVolume is gone, or cannot be read: its name
// is that of the remote claim, and the scheduler has noted the node.
func ofUnread(claim *corev1.PersistentVolumeClaim, gone bool) Volume {
	if !volume.IsProvisioned(claim) {
		return Volume{Namespace: claim.Namespace, Claim: claim.Name}
	}
	v := ofPending(claim, answer{})
	v.Volume, v.Capacity = claim.Spec.VolumeName, claim.Status.Capacity.Storage().String()
	if v.Node != "" {
		v.RemoteNamespace, v.RemoteClaim = contract.RemoteNamespace(v.Node, claim.Namespace), claim.Spec.VolumeName
	}
	if gone {
		v.verdict(Lost, "PersistentVolumeGone", "the PersistentVolume is gone; its remote claim may be there")
		return v
	}
	v.verdict(stateOfBound(claim, answer{}))
	if condition := remoteBound(claim); condition != nil && condition.Reason == reasonLost {
		v.State = Lost
	}
	return v
}

// OfRemote returns the volume whose data is in the remote claim of the given handle,
// NAMESPACE/NAME, as the local cluster knows it. It is false if there is none.
func OfRemote(ctx context.Context, both kubeclient.Clusters, handle string) (v Volume, found bool, err error) {
	pvs, err := localVolumes(ctx, both.Local, "")
	if err != nil {
		return Volume{}, false, err
	}
	for i := range pvs {
		_, place, _ := volume.Of(&pvs[i])
		if contract.VolumeHandle(place.Namespace, place.Claim) != handle {
			continue
		}
		claim, err := boundClaim(ctx, both.Local, &pvs[i])
		if err != nil {
			return Volume{}, false, err
		}
		answer, err := remoteOf(both).ask(ctx, place)
		if err != nil {
			return Volume{}, false, err
		}
		v = ofVolume(&pvs[i], claim, answer)
		return v, true, v.addPods(ctx, both.Remote)
	}
	return Volume{}, false, nil
}

// boundClaim returns the local claim that is bound to a volume, or nil if there is none
// or the user may not read it.
func boundClaim(ctx context.Context, local *kubeclient.Cluster, pv *corev1.PersistentVolume) (*corev1.PersistentVolumeClaim, error) {
	ref := pv.Spec.ClaimRef
	if ref == nil {
		return nil, nil //nolint:nilnil // documented
	}
	claim, err := local.Client.CoreV1().PersistentVolumeClaims(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || err == nil && claim.Spec.VolumeName != pv.Name {
		return nil, nil //nolint:nilnil // documented
	}
	if err != nil {
		return nil, fmt.Errorf("get the local claim %s/%s: %w", ref.Namespace, ref.Name, err)
	}
	return claim, nil
}

// localVolumes returns the PersistentVolumes of a node, or of all nodes.
func localVolumes(ctx context.Context, local *kubeclient.Cluster, node string) ([]corev1.PersistentVolume, error) {
	options := metav1.ListOptions{LabelSelector: contract.LabelNodeName, Limit: pageSize}
	if node != "" {
		options.LabelSelector += "=" + node
	}
	var found []corev1.PersistentVolume
	for {
		page, err := local.Client.CoreV1().PersistentVolumes().List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list the local PersistentVolumes: %w", err)
		}
		for i := range page.Items {
			if owner, _, ours := volume.Of(&page.Items[i]); ours && (node == "" || owner == node) {
				found = append(found, page.Items[i])
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return found, nil
		}
	}
}

// claims are local claims, by namespace and name.
type claims map[types.NamespacedName]*corev1.PersistentVolumeClaim

// localClaims returns all local claims. A user who may not list them gets none.
func localClaims(ctx context.Context, local *kubeclient.Cluster) (claims, error) {
	found := claims{}
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := local.Client.CoreV1().PersistentVolumeClaims(metav1.NamespaceAll).List(ctx, options)
		if apierrors.IsForbidden(err) {
			return claims{}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list the local claims: %w", err)
		}
		for i := range page.Items {
			claim := &page.Items[i]
			found[types.NamespacedName{Namespace: claim.Namespace, Name: claim.Name}] = claim
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return found, nil
		}
	}
}

// boundTo returns the claim that is bound to a volume, or nil.
func (c claims) boundTo(pv *corev1.PersistentVolume) *corev1.PersistentVolumeClaim {
	claim := c[claimKey(pv)]
	if claim == nil || claim.Spec.VolumeName != pv.Name {
		return nil
	}
	return claim
}

// claimKey is the local claim that a volume is for.
func claimKey(pv *corev1.PersistentVolume) types.NamespacedName {
	if pv.Spec.ClaimRef == nil {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: pv.Spec.ClaimRef.Namespace, Name: pv.Spec.ClaimRef.Name}
}

// isPending reports whether akd is to provision a claim, and has not done so.
func isPending(claim *corev1.PersistentVolumeClaim) bool {
	return claim.Spec.VolumeName == "" && volume.IsProvisioned(claim)
}

// hasOurClass reports whether the class of a claim is one of AK. A claim that waits for
// its first pod has no other sign of that. Who may not read the class learns nothing.
func hasOurClass(ctx context.Context, local *kubeclient.Cluster, claim *corev1.PersistentVolumeClaim) bool {
	name := classOf(claim)
	if name == "" {
		return false
	}
	class, err := local.Client.StorageV1().StorageClasses().Get(ctx, name, metav1.GetOptions{})
	return err == nil && class.Provisioner == contract.StorageDriver
}

// placeOf is where akd makes the remote claim of a pending one.
func placeOf(claim *corev1.PersistentVolumeClaim) volume.Remote {
	node := claim.Annotations[volume.AnnotationSelectedNode]
	return volume.Remote{Namespace: contract.RemoteNamespace(node, claim.Namespace), Claim: contract.VolumeName(claim.UID)}
}

func classOf(claim *corev1.PersistentVolumeClaim) string {
	if claim.Spec.StorageClassName == nil {
		return ""
	}
	return *claim.Spec.StorageClassName
}
