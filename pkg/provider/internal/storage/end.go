package storage

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// deleteRemote deletes the remote claim of a released volume, and with it the data, once the
// local cluster itself has said that the volume is released and to be deleted.
func (v *Volumes) deleteRemote(ctx context.Context, o *one) error {
	current, err := unlessMissing(v.Local.GetVolume(ctx, o.Volume.Name))
	if err != nil {
		return err
	}
	if current == nil || current.UID != o.Volume.UID || current.ResourceVersion != o.Volume.ResourceVersion {
		if current != nil {
			v.volumes.Put(current)
			return v.seen(o)
		}
		return nil // the watch reports its end
	}
	return v.Remote.ClaimWriter().Delete(ctx, o.Remote)
}

// discard deletes a remote claim that no pod has used, once the local cluster itself has said
// that neither its local claim nor a volume of it is there. The deletion applies to the claim
// as it is without the mark of a volume.
func (v *Volumes) discard(ctx context.Context, o *one) error {
	there, err := unlessMissing(v.Local.GetVolume(ctx, o.key.Name))
	if err != nil {
		return err
	}
	if there != nil {
		v.volumes.Put(there)
		return v.seen(o)
	}
	if o.Claim == nil {
		if err := v.isUnwanted(ctx, o.Remote); err != nil {
			return err
		}
	}
	return v.Remote.ClaimWriter().Delete(ctx, o.Remote)
}

// isUnwanted returns an error unless the local cluster itself says that the claim that a remote
// one was created for is gone. It may be there only under the name that is on the remote claim.
func (v *Volumes) isUnwanted(ctx context.Context, remote *corev1.PersistentVolumeClaim) error {
	there, err := unlessMissing(v.Local.GetClaim(ctx, remote.Labels[contract.LabelNamespace], remote.Annotations[contract.AnnotationClaim]))
	if err != nil || there == nil || !v.isMine(remote, there.UID) {
		return err
	}
	v.claims.Put(there)
	return errNotSeen
}

// release deletes the local volume of a remote claim that is gone, once the remote cluster
// itself has said so.
func (v *Volumes) release(ctx context.Context, o *one) error {
	if gone, err := v.isGone(ctx, o); err != nil || !gone {
		return err
	}
	if o.Volume.DeletionTimestamp == nil {
		return v.Local.DeleteVolume(ctx, o.Volume)
	}
	return v.letGo(ctx, o)
}

// letGo takes akd's finalizer off a volume that is being deleted.
func (v *Volumes) letGo(ctx context.Context, o *one) error {
	if !volume.IsHeld(o.Volume) {
		return nil
	}
	patched, err := v.Local.PatchVolume(ctx, o.Volume.Name, translate.LetGoPatch(o.Volume))
	if cluster.IsNotFoundOrConflict(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(patched.Finalizers) == 0 {
		v.volumes.Drop(o.Volume)
		return nil
	}
	v.volumes.Put(patched)
	return nil
}
