package podsync

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// fail ends a local pod permanently. It verifies with the remote API server
// itself that the remote pod is gone: a cache may lag, and this cannot be
// undone. That there is not even a namespace was verified before.
func (r *reconciler) fail(ctx context.Context, p pair, step translate.Step) error {
	if step.Reason != translate.ReasonRemotePodInvalid && p.remoteNamespace != nil {
		there, err := r.isThere(ctx, p)
		if err != nil {
			return err
		}
		if there {
			return r.lookAgain(p)
		}
	}
	if wait := r.slowdown.wait(p.local, step.Reason); wait > 0 {
		r.queue.AddAfter(p.key, wait)
		return r.recordRefusal(ctx, p, step.Reason, step.Message+" "+messageSlowed)
	}
	status := r.mapper.FailedStatus(p.local, step.Reason, step.Message, metav1.NewTime(r.clock.Now()))
	if written, err := r.patchStatus(ctx, p.local, status, nil); err != nil || !written {
		return err
	}
	r.slowdown.failed(p.local, step.Reason)
	r.recorder.Event(p.local, corev1.EventTypeWarning, step.Reason, step.Message)
	return nil
}

// isThere asks the remote API server itself whether it has the remote pod of a local
// one.
func (r *reconciler) isThere(ctx context.Context, p pair) (bool, error) {
	found, err := r.readRemote(ctx, p)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return r.mapper.OwnsPodFor(found, p.local), nil // another pod of its name is none
}

// end writes the final status of a local pod whose remote pod is gone, from the last
// state that a watch reported.
func (r *reconciler) end(ctx context.Context, p pair, last *corev1.Pod) error {
	now := metav1.NewTime(r.clock.Now())
	p.remote = r.mapper.Ended(last, now)
	status := r.mapper.Status(p.local, p.remote, now)
	r.freeEnded(p.local, status)
	if written, err := r.patchStatus(ctx, p.local, status, r.mapper.Annotations(p.local, p.remote)); err != nil || !written {
		return err
	}
	r.debouncer.written(p.local.UID)
	if status.Reason == translate.ReasonRemotePodDeleted {
		r.recorder.Event(p.local, corev1.EventTypeWarning, status.Reason, status.Message)
	}
	return nil
}

// freeEnded frees what a pod uses that is about to get a final status. Nothing of it runs,
// whatever becomes of the write.
func (r *reconciler) freeEnded(local *corev1.Pod, status *corev1.PodStatus) {
	if translate.Finished(&corev1.Pod{Status: *status}) {
		r.admission.free(local.UID)
	}
}

// deleteRemote deletes the remote pod of a local one that is ending or gone, with the
// grace period of the local one where it is known.
func (r *reconciler) deleteRemote(ctx context.Context, p pair, step translate.Step) error {
	if p.local == nil {
		allowed, err := r.mayDeleteOrphan(ctx, p)
		if err != nil || !allowed {
			return err
		}
	}
	if !p.belongTogether() {
		step.GracePeriodSeconds = translate.GracePeriod(r.index.graceOf(types.UID(p.remote.Labels[contract.LabelUID])))
	}
	if err := r.remote.DeletePod(ctx, cluster.RefTo(p.remote), step.GracePeriodSeconds); err != nil {
		return err
	}
	return r.copyStatus(ctx, p)
}

// letGo takes akd's finalizer off a remote pod: its last status is local, or there
// is no local pod any more that could get it.
func (r *reconciler) letGo(ctx context.Context, p pair) error {
	if p.local == nil {
		allowed, err := r.mayDeleteOrphan(ctx, p)
		if err != nil || !allowed {
			return err
		}
	}
	patched, err := r.remote.PatchPod(ctx, cluster.RefTo(p.remote), translate.LastStatePatch(p.remote))
	if cluster.IsNotFoundOrConflict(err) {
		return nil // the watch tells
	}
	if err != nil {
		return err
	}
	if patched.DeletionTimestamp == nil { // a deleted one may be gone with the patch: the watch tells
		p.remoteNamespace.Pods.Put(patched)
	}
	return nil
}

// mayDeleteOrphan decides whether a remote pod without a local one may be
// deleted. Either the deletion was watched, or the local API server itself
// confirms that the pod is gone and the guard has not paused deletions.
func (r *reconciler) mayDeleteOrphan(ctx context.Context, p pair) (bool, error) {
	uid := types.UID(p.remote.Labels[contract.LabelUID])
	if r.index.hasTombstone(uid) {
		return true, nil
	}
	there, err := r.local.HasPod(ctx, cluster.PodRef{Namespace: p.key.Namespace, Name: p.key.Name, UID: uid})
	if err != nil || there {
		return false, err
	}
	return r.guard.allows(), nil
}

// release completes the deletion of the local pod once nothing of it runs any
// more.
func (r *reconciler) release(ctx context.Context, p pair) error {
	if translate.IsMirrorPod(p.local) {
		return r.releaseMirrorPod(ctx, p)
	}
	if p.remoteNamespace == nil {
		return r.releasePod(ctx, p)
	}
	unread := p.remoteNamespace.Pods.Refusal() != nil
	if (unread || !translate.Finished(p.local)) && !r.index.isUnsent(p.local.UID) {
		// The answer to its creation may have been lost, or akd may not list the pods.
		there, err := r.isThere(ctx, p)
		if err != nil {
			return err
		}
		if there {
			return r.lookAgain(p)
		}
	}
	if secret := p.remoteNamespace.Secrets.Get(p.remoteNamespace.Name, contract.TokenSecretName(p.local.UID)); secret != nil {
		if err := r.tokens.Remove(ctx, p.remoteNamespace, secret); err != nil {
			return err
		}
	}
	return r.releasePod(ctx, p)
}

// releaseMirrorPod deletes a pod without a static pod. It waits as long as a kubelet
// may, so that whoever creates such pods again and again is not served faster here.
func (r *reconciler) releaseMirrorPod(ctx context.Context, p pair) error {
	const housekeeping = 2 * time.Second // a kubelet's housekeepingPeriod
	if wait := housekeeping - r.clock.Since(p.local.CreationTimestamp.Time); wait > 0 {
		r.queue.AddAfter(p.key, wait)
		return nil
	}
	r.recorder.Event(p.local, corev1.EventTypeWarning, translate.ReasonMirrorPodDeleted,
		"The annotation "+corev1.MirrorPodAnnotationKey+" is for kubelets with static pods, and this node has none.")
	return r.releasePod(ctx, p)
}

// releasePod deletes the local pod from the API.
func (r *reconciler) releasePod(ctx context.Context, p pair) error {
	r.admission.free(p.local.UID)
	if isReleased(p.local) {
		return nil
	}
	// The API server writes a grace period of 0 before it deletes the pod, and the
	// watch reports that write: without the cooldown, it would trigger a second
	// delete.
	if wait := r.released.wait(p.local.UID); wait > 0 {
		r.queue.AddAfter(p.key, wait)
		return nil
	}
	if err := r.local.ReleasePod(ctx, cluster.RefTo(p.local)); err != nil {
		return err
	}
	r.released.start(p.local.UID)
	return nil
}

// isReleased reports whether a pod is deleted together with its last finalizer, and needs
// nothing else from its node.
// https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/
func isReleased(local *corev1.Pod) bool {
	return local.DeletionTimestamp != nil && ptr.Deref(local.DeletionGracePeriodSeconds, 1) == 0 && len(local.Finalizers) > 0
}
