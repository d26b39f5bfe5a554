package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// refusalRetry is the delay before a refused claim is looked at again, unless a watch reports
// earlier that the reason is gone.
const refusalRetry = time.Minute

// one is a volume that is being reconciled.
type one struct {
	translate.VolumeState

	key       queue.Key
	namespace *namespaces.Namespace // nil if there is none
}

// Reconcile takes the next step in the life of a volume.
func (v *Volumes) Reconcile(ctx context.Context, k queue.Key, attempts int) error {
	if !v.Enabled {
		return nil
	}
	o := v.local(k)
	ready, err := v.withRemote(ctx, &o)
	if err == nil && ready {
		err = v.apply(ctx, &o, v.Mapper.NextVolume(o.VolumeState))
	}
	return v.handle(&o, err, attempts)
}

// local returns what the local cluster has of a volume.
func (v *Volumes) local(k queue.Key) one {
	o := one{key: k}
	o.RemoteClusterUID = v.RemoteClusterUID
	o.Volume = v.volumes.Get("", k.Name)
	if o.Volume != nil {
		if ref := o.Volume.Spec.ClaimRef; ref != nil {
			claim := v.claims.Get(ref.Namespace, ref.Name)
			if claim != nil && (ref.UID == "" || claim.UID == ref.UID) {
				o.Claim = claim
			}
		}
	} else if uid := contract.ClaimUID(k.Name); uid != "" {
		o.Claim = v.claimWith(k.Namespace, uid)
	}
	o.Class = v.classOf(o.Claim)
	return o
}

func (v *Volumes) claimWith(namespace string, uid types.UID) *corev1.PersistentVolumeClaim {
	for _, claim := range v.claimsBy.Get(reference{withUID, namespace, string(uid)}) {
		return claim
	}
	return nil
}

// withRemote adds what the remote cluster has of a volume. It reports false if nothing can be
// said yet: the key is queued again once the remote namespace has been read.
func (v *Volumes) withRemote(ctx context.Context, o *one) (ready bool, err error) {
	if o.namespace = v.Opener.Get(o.key.Namespace); o.namespace == nil {
		return v.withoutNamespace(ctx, o)
	}
	if refusal := o.namespace.Claims.Refusal(); refusal != nil {
		return false, refusal // unknown is not gone
	}
	o.Remote = o.namespace.Claims.Get(o.namespace.Name, o.key.Name)
	if o.Remote == nil || o.Remote.Status.Phase == corev1.ClaimBound || o.Class == nil {
		return true, nil
	}
	late, err := v.bindsLate(ctx, o.Class)
	if o.Volume != nil {
		err = nil // it only says what the claim waits for
	}
	o.Late = late
	return err == nil, err
}

// bindsLate reports whether the remote class of a local one gives a claim its storage with the
// first pod.
func (v *Volumes) bindsLate(ctx context.Context, class *storagev1.StorageClass) (bool, error) {
	name := class.Parameters[contract.ParameterRemoteClass]
	if name == "" {
		return false, nil
	}
	late, err := v.remote.bindLate(ctx, name)
	if apierrors.IsNotFound(err) {
		return false, &translate.Refusal{Reason: translate.ReasonProvisioningFailed, Message: fmt.Sprintf(
			"StorageClass %q names remote class %q, which does not exist in the remote cluster any more.", class.Name, name)}
	}
	return late, err
}

// withoutNamespace opens the remote namespace, unless nothing needs it, or a volume is to find
// out that it is gone.
func (v *Volumes) withoutNamespace(ctx context.Context, o *one) (ready bool, err error) {
	if o.Volume != nil {
		if missing, err := v.Opener.Lacks(ctx, o.key.Namespace); err != nil || missing {
			return err == nil, err
		}
	} else {
		if v.Mapper.NextVolume(o.VolumeState) != translate.VolumeCreateRemote {
			return false, nil
		}
		if _, err := v.Mapper.RemoteClass(o.Claim, o.Class); err != nil {
			return false, err
		}
	}
	_, opened, err := v.Opener.Ensure(ctx, o.key.Namespace)
	if opened {
		v.Queue.Add(o.key) // it was opened meanwhile
	}
	return false, err
}

// apply carries out one step of the volume table.
func (v *Volumes) apply(ctx context.Context, o *one, action translate.VolumeAction) error {
	switch action {
	case translate.VolumeCreateRemote:
		return v.createRemote(ctx, o)
	case translate.VolumeCreate:
		return v.create(ctx, o)
	case translate.VolumeCommit:
		return v.commit(ctx, o)
	case translate.VolumeMirror, translate.VolumeEnding:
		return v.mirror(ctx, o)
	case translate.VolumeDiscard:
		return v.discard(ctx, o)
	case translate.VolumeDeleteRemote:
		return v.deleteRemote(ctx, o)
	case translate.VolumeRelease:
		return v.release(ctx, o)
	case translate.VolumeLetGo:
		return v.letGo(ctx, o)
	case translate.VolumeLost:
		return v.lose(ctx, o)
	case translate.VolumeNone, translate.VolumeWait, translate.VolumeKeep, translate.VolumeOrphan:
		return nil
	}
	return fmt.Errorf("unknown step %q of the volume table", action)
}

// createRemote creates the remote claim of a local one.
func (v *Volumes) createRemote(ctx context.Context, o *one) error {
	class, err := v.Mapper.RemoteClass(o.Claim, o.Class)
	if err != nil {
		return err
	}
	source, err := v.source(ctx, o)
	if err != nil {
		return err
	}
	created, err := v.Remote.ClaimWriter().Create(ctx, o.namespace.Site.Claim(o.Claim, class, source))
	if apierrors.IsAlreadyExists(err) {
		return v.adopt(ctx, o)
	}
	if err != nil {
		return err
	}
	o.namespace.Claims.Put(created)
	return v.seen(o)
}

// source returns the remote claim with whose data the one of a local claim begins, or an empty
// string.
func (v *Volumes) source(ctx context.Context, o *one) (string, error) {
	name := translate.CloneOf(o.Claim)
	if name == "" {
		return "", nil
	}
	source, err := v.find(ctx, v.claims.Get(o.Claim.Namespace, name), o.namespace)
	if err != nil {
		return "", err
	}
	if err := o.namespace.Site.RefuseSource(o.Claim, source); err != nil {
		return "", err
	}
	return source.Volume.Name, nil
}

// adopt reads a remote claim that is there although the cache does not have it.
func (v *Volumes) adopt(ctx context.Context, o *one) error {
	there, err := v.Remote.GetClaim(ctx, o.namespace.Name, o.key.Name)
	if err != nil {
		return err
	}
	if !v.isMine(there, o.Claim.UID) {
		return &translate.Refusal{Reason: translate.ReasonRemoteClaimForeign, Message: fmt.Sprintf(
			"A PersistentVolumeClaim that akd did not create is in the way of remote claim %s/%s: ask the administrator of the "+
				"remote cluster to delete it.", o.namespace.Name, o.key.Name)}
	}
	o.namespace.Claims.Put(there)
	return v.seen(o)
}

// isMine reports whether akd has created a remote claim for the local one of that UID.
func (v *Volumes) isMine(remote *corev1.PersistentVolumeClaim, claim types.UID) bool {
	for key, value := range v.Mapper.ObjectLabels() {
		if remote.Labels[key] != value {
			return false
		}
	}
	return remote.Labels[contract.LabelUID] == string(claim)
}

// create creates the local volume of a claim.
func (v *Volumes) create(ctx context.Context, o *one) error {
	created, err := v.Local.CreateVolume(ctx, o.namespace.Site.Volume(o.Claim, o.Remote, o.Class, v.RemoteClusterUID))
	if apierrors.IsAlreadyExists(err) {
		if created, err = v.Local.GetVolume(ctx, o.key.Name); err != nil {
			return err
		}
		if node, _, ok := volume.Of(created); !ok || node != v.Mapper.Node {
			return &translate.Refusal{Reason: translate.ReasonProvisioningFailed, Message: fmt.Sprintf(
				"A PersistentVolume that akd did not create is in the way of volume %s: delete it.", o.key.Name)}
		}
	} else if err == nil {
		v.Recorder.Eventf(o.Claim, corev1.EventTypeNormal, translate.ReasonProvisioningSucceeded,
			"Created volume %s, whose data is the remote claim %s/%s.", created.Name, o.Remote.Namespace, o.Remote.Name)
	}
	if err != nil {
		return err
	}
	v.volumes.Put(created)
	return v.seen(o)
}

// seen returns an error if the caches do not have what has just been written or read, which
// would have queued the volume: until they have noticed that a backup of the cluster was
// restored, they refuse what they take for older than what they know.
func (v *Volumes) seen(o *one) error {
	if v.volumes.Get("", o.key.Name) == o.Volume && o.namespace.Claims.Get(o.namespace.Name, o.key.Name) == o.Remote {
		return errNotSeen
	}
	return nil
}

// commit marks the remote claim before any pod can use it.
func (v *Volumes) commit(ctx context.Context, o *one) error {
	patched, err := v.Remote.PatchClaim(ctx, o.Remote.Namespace, o.Remote.Name, translate.CommitPatch(o.Remote, o.Volume))
	if err != nil {
		return err
	}
	o.namespace.Claims.Put(patched)
	if ref := o.Volume.Spec.ClaimRef; ref != nil {
		v.queuePods(ref.Namespace, ref.Name)
	}
	return v.seen(o)
}

// mirror gives the remote claim the requested size, and the local volume and claim the true
// one: first the volume, as every resizer does.
func (v *Volumes) mirror(ctx context.Context, o *one) error {
	var refused error
	if o.Claim != nil && o.Claim.Spec.VolumeName == o.Volume.Name && o.Remote.DeletionTimestamp == nil {
		refused = v.request(ctx, o)
	}
	return errors.Join(refused, v.mirrorUp(ctx, o))
}

// mirrorUp writes what the remote claim has to the local volume and claim.
func (v *Volumes) mirrorUp(ctx context.Context, o *one) error {
	if patch := translate.CapacityPatch(o.Volume, o.Remote); patch != nil {
		patched, err := v.Local.PatchVolume(ctx, o.Volume.Name, patch)
		if cluster.IsNotFoundOrConflict(err) {
			return nil // the watch reports the new state
		}
		if err != nil {
			return err
		}
		v.volumes.Put(patched)
	}
	bound := v.Mapper.BoundState(o.VolumeState)
	if o.Claim != nil && bound.Reason == translate.ReasonRemoteClaimEnding {
		v.warn(o.Claim, bound.Reason, bound.Message)
	}
	return v.tell(ctx, o, bound)
}

// request passes a new size on. Only the answer of the remote cluster says whether it can be.
func (v *Volumes) request(ctx context.Context, o *one) error {
	patch := translate.RequestPatch(o.Claim, o.Remote)
	if patch == nil {
		return nil
	}
	patched, err := v.Remote.PatchClaim(ctx, o.Remote.Namespace, o.Remote.Name, patch)
	if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
		return &translate.Refusal{Reason: translate.ReasonResizeFailed, Message: v.Mapper.ClaimText(o.Claim, err.Error())}
	}
	if err != nil {
		return err
	}
	o.namespace.Claims.Put(patched)
	o.Remote = patched
	return nil
}

// tell writes the status of the local claim. If that claim has changed, the watch reports it.
func (v *Volumes) tell(ctx context.Context, o *one, bound translate.RemoteBound) error {
	claim := o.Claim
	if claim == nil || claim.Spec.VolumeName != o.Volume.Name {
		return nil
	}
	patch, err := v.Mapper.ClaimStatusPatch(claim, o.Remote, bound, metav1.NewTime(v.Clock.Now()))
	if err != nil || patch == nil {
		return err
	}
	patched, err := v.Local.PatchClaimStatus(ctx, claim.Namespace, claim.Name, patch)
	if cluster.IsNotFoundOrConflict(err) || apierrors.IsForbidden(err) && !volume.IsProvisioned(claim) {
		return nil // of a claim whose volume was imported, the policies let akd change nothing
	}
	if err != nil {
		return err
	}
	v.claims.Put(patched)
	return nil
}

// lose tells that the remote claim of a volume is gone, once the remote cluster itself has
// said so.
func (v *Volumes) lose(ctx context.Context, o *one) error {
	_, source, _ := volume.Of(o.Volume)
	if source.ClusterUID == v.RemoteClusterUID {
		if gone, err := v.isGone(ctx, o); err != nil || !gone {
			return err
		}
	}
	o.Remote = nil
	lost := v.Mapper.LostState(o.VolumeState)
	if err := v.tell(ctx, o, lost); err != nil {
		return err
	}
	if o.Claim != nil {
		v.warn(o.Claim, lost.Reason, lost.Message)
		v.queuePods(o.Claim.Namespace, o.Claim.Name)
	}
	return nil
}

// isGone asks the remote cluster itself whether the remote claim of a volume does not exist any
// more. If it does, the cache is told.
func (v *Volumes) isGone(ctx context.Context, o *one) (bool, error) {
	_, source, _ := volume.Of(o.Volume)
	there, err := v.lookFor(ctx, source)
	if err != nil {
		return false, err
	}
	if there == nil || there.UID != volume.Adopted(o.Volume) {
		return true, nil
	}
	if o.namespace != nil && o.namespace.Name != source.Namespace {
		return false, nil // it serves another local namespace, and pods are told so
	}
	if o.namespace != nil {
		o.namespace.Claims.Put(there)
	}
	return false, errNotSeen
}

// lookFor asks the remote cluster for a remote claim. Without its namespace, it does not exist
// either: a tenant has no right to ask for it then.
func (v *Volumes) lookFor(ctx context.Context, source volume.Remote) (*corev1.PersistentVolumeClaim, error) {
	namespace, err := unlessMissing(v.Remote.GetNamespace(ctx, source.Namespace))
	if err != nil || namespace == nil {
		return nil, err
	}
	return unlessMissing(v.Remote.GetClaim(ctx, source.Namespace, source.Claim))
}

// errNotSeen means that an object is there which a cache does not have yet.
var errNotSeen = errors.New("the volume or its remote claim is there, but was not seen")

// handle reports to the owner of the claim why nothing happens, with the message of the server
// that refused, and returns the error if the attempt is to be repeated with back-off.
func (v *Volumes) handle(o *one, err error, attempts int) error {
	switch refusal, refused := errors.AsType[*translate.Refusal](err); {
	case err == nil:
		return nil
	case refused:
		v.Queue.AddAfter(o.key, refusalRetry)
		if o.Claim != nil {
			v.warn(o.Claim, refusal.Reason, refusal.Message)
		}
		return nil
	case o.Claim != nil && attempts == queue.QuietAttempts && !errors.Is(err, errNotSeen):
		reason, message := translate.ReasonProvisioningFailed, v.Mapper.ClaimText(o.Claim, err.Error())
		if o.Volume != nil && o.namespace != nil && o.namespace.Claims.Refusal() != nil {
			reason = translate.ReasonRemoteClaimUnknown
			message = "akd may not read the remote claim of this volume, and does not take it for lost: " + message
		}
		v.warn(o.Claim, reason, message)
	}
	return err
}

// warn records an event on a local claim, unless it was the last one.
func (v *Volumes) warn(claim *corev1.PersistentVolumeClaim, reason, message string) {
	v.mu.Lock()
	event := told{reason, message}
	known := v.told[claim.UID] == event
	v.told[claim.UID] = event
	v.mu.Unlock()
	if !known {
		v.Recorder.Event(claim, corev1.EventTypeWarning, reason, message)
	}
}

// Prune forgets what was told of claims that are gone.
func (v *Volumes) Prune() {
	known := map[types.UID]bool{}
	for _, claim := range v.claims.All() {
		known[claim.UID] = true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	maps.DeleteFunc(v.told, func(claim types.UID, _ told) bool { return !known[claim] })
}

// unlessMissing turns the answer that there is no such object into none.
func unlessMissing[T any](object *T, err error) (*T, error) {
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return object, err
}
