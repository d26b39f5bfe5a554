package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// reconciler brings one pod, or one mirrored object, to where it should be:
// level-triggered, from caches, writing differences only. It never waits; what
// it needs first is queued, and queues the pod again.
type reconciler struct {
	mapper   *translate.Mapper
	local    *localCluster
	remote   *remoteCluster
	spaces   *spaces
	tokens   *tokens
	pods     *objects[*corev1.Pod]
	services *serviceMirror
	register *register
	brake    *brake
	// admission decides whether a pod that is new may run.
	admission *admission
	batch     *batch
	released  *pauses
	recorder  record.EventRecorder
	queue     queue
	clock     clock.PassiveClock
	logger    *slog.Logger

	configMaps *copies[*corev1.ConfigMap]
	secrets    *copies[*corev1.Secret]
}

// pair is a local pod and its remote counterpart; either may be nil.
type pair struct {
	key    key
	space  *space
	local  *corev1.Pod
	remote *corev1.Pod
}

// same reports whether the remote pod is the local one's, rather than another's
// under its name.
func (p pair) same() bool {
	return p.local != nil && p.remote != nil && p.remote.Labels[contract.LabelUID] == string(p.local.UID)
}

// reconcile handles one key of the queue. attempts is how often it failed in a row.
func (r *reconciler) reconcile(ctx context.Context, k key, attempts int) error {
	err := r.reconcileKind(ctx, k, attempts)
	if apierrors.IsForbidden(err) {
		if space := r.spaces.get(k.namespace); space != nil {
			return errors.Join(err, r.spaces.doubtNow(ctx, space, r.clock.Now()))
		}
	}
	return err
}

func (r *reconciler) reconcileKind(ctx context.Context, k key, attempts int) error {
	switch k.kind {
	case kindConfigMap:
		return r.reconcileConfigMap(ctx, k)
	case kindSecret:
		return r.reconcileSecret(ctx, k)
	case kindService:
		return r.services.reconcileService(ctx, k, attempts)
	case kindEndpointSlice:
		return r.services.reconcileSlice(ctx, k, attempts)
	default:
		return r.reconcilePod(ctx, k, attempts)
	}
}

func (r *reconciler) reconcileConfigMap(ctx context.Context, k key) error {
	space := r.spaces.get(k.namespace)
	if space == nil {
		return nil
	}
	return r.configMaps.reconcile(ctx, space, k.name)
}

// reconcileSecret handles mirrored Secrets and, in their own remote names, the
// Secrets that hold a pod's tokens.
func (r *reconciler) reconcileSecret(ctx context.Context, k key) error {
	space := r.spaces.get(k.namespace)
	if space == nil {
		return nil
	}
	have := space.secrets.get(space.remote, k.name)
	if have == nil || !translate.IsTokenSecret(have) {
		return r.secrets.reconcile(ctx, space, k.name)
	}
	if r.register.has(types.UID(have.Labels[contract.LabelUID])) {
		return nil
	}
	return r.tokens.remove(ctx, space, have)
}

func (r *reconciler) reconcilePod(ctx context.Context, k key, attempts int) error {
	local := r.pods.get(k.namespace, k.name)
	space := r.spaces.get(k.namespace)
	if space == nil {
		if local == nil {
			return nil
		}
		var err error
		if space, err = r.spaces.ensure(ctx, k.namespace); err != nil {
			return r.report(ctx, pair{key: k, local: local}, err, attempts)
		}
		if space == nil {
			return nil
		}
	}
	p := pair{key: k, space: space, local: local, remote: space.pod(k.name)}
	err := r.take(ctx, p, r.mapper.Next(local, p.remote))
	if err != nil && local != nil {
		return r.report(ctx, p, err, attempts)
	}
	return err
}

// take carries out one step of the lifecycle table.
func (r *reconciler) take(ctx context.Context, p pair, step translate.Step) error {
	switch step.Action {
	case translate.Create:
		return r.create(ctx, p)
	case translate.Update:
		return r.update(ctx, p)
	case translate.CopyStatus:
		return r.follow(ctx, p)
	case translate.Fail:
		return r.fail(ctx, p, step)
	case translate.DeleteRemote:
		return r.deleteRemote(ctx, p, step)
	case translate.Wait:
		if !step.Again.IsZero() {
			r.queue.AddAfter(p.key, max(0, step.Again.Sub(r.clock.Now())))
		}
		return r.copyStatus(ctx, p)
	case translate.Release:
		return r.release(ctx, p)
	case translate.Refuse:
		return &translate.Refusal{Reason: step.Reason, Message: step.Message}
	case translate.None:
		return nil
	}
	return fmt.Errorf("unknown step %q of the lifecycle table", step.Action)
}

// create mirrors what the pod needs and then creates it.
func (r *reconciler) create(ctx context.Context, p pair) error {
	if !r.services.hasSynced() {
		return errors.New("services have not been read yet")
	}
	// What cannot work is refused before anything is mirrored for it.
	rejected, err := r.admission.admit(ctx, p.local)
	if err != nil {
		return err
	}
	if rejected.Reason != "" {
		return r.fail(ctx, p, translate.Step{Reason: rejected.Reason, Message: rejected.Message})
	}
	if _, err := r.mapper.Pod(p.local, translate.PodContext{}); err != nil {
		return err
	}
	settled := r.needsSettled(p)
	secret, ready, err := r.tokens.prepare(ctx, p.space, p.local)
	if err != nil || !ready {
		return err
	}
	if !settled {
		return r.tokens.store(ctx, p.space, secret)
	}
	around := r.around(p.local)
	if around.LocalResources, err = r.admission.localResources(ctx, p.local); err != nil {
		return err
	}
	wanted, err := r.mapper.Pod(p.local, around)
	if err != nil {
		return err
	}
	return r.createWith(ctx, p, secret, wanted)
}

// createWith creates the remote pod and, at the same time, the Secret with its
// tokens: it is there long before a kubelet has been found that asks for it.
// Where it could not be written, follow writes it.
func (r *reconciler) createWith(ctx context.Context, p pair, secret *corev1.Secret, wanted *corev1.Pod) error {
	stored := make(chan error, 1)
	go func() { stored <- r.tokens.store(ctx, p.space, secret) }()
	created, err := r.remote.createPod(ctx, wanted)
	return errors.Join(<-stored, r.created(ctx, p, created, err))
}

// created takes in the remote API server's answer to the creation of a pod.
func (r *reconciler) created(ctx context.Context, p pair, created *corev1.Pod, err error) error {
	switch {
	case err == nil:
		p.space.pods.put(created)
		return nil
	case apierrors.IsAlreadyExists(err):
		return r.reread(ctx, p)
	case apierrors.IsInvalid(err):
		return r.fail(ctx, p, translate.Step{Reason: translate.ReasonRemotePodInvalid, Message: r.mapper.LocalText(p.local, err.Error())})
	case apierrors.IsNotFound(err):
		r.spaces.forget(p.space)
		return err
	}
	return err
}

// needsSettled reports whether everything that the pod refers to has been
// mirrored. It asks for all of it, not just for the first that is missing.
func (r *reconciler) needsSettled(p pair) bool {
	needs := translate.NeedsOf(p.local)
	settled := true
	for _, name := range needs.ConfigMaps {
		settled = r.configMaps.settled(p.space, name, p.key) && settled
	}
	for _, name := range needs.Secrets {
		settled = r.secrets.settled(p.space, name, p.key) && settled
	}
	return settled
}

// around returns the local objects that a kubelet looks at when it makes the
// pod's environment.
func (r *reconciler) around(pod *corev1.Pod) translate.PodContext {
	around := translate.PodContext{
		Services:    r.services.services.in(pod.Namespace),
		ConfigMaps:  map[string]*corev1.ConfigMap{},
		Secrets:     map[string]*corev1.Secret{},
		Nameservers: r.services.nameservers(),
	}
	needs := translate.NeedsOf(pod)
	for _, name := range needs.ConfigMaps {
		if found := r.configMaps.references.state(pod.Namespace, name).object; found != nil {
			around.ConfigMaps[name] = found
		}
	}
	for _, name := range needs.Secrets {
		if found := r.secrets.references.state(pod.Namespace, name).object; found != nil {
			around.Secrets[name] = found
		}
	}
	return around
}

// reread takes the remote pod from the API server into the cache, because a
// write found another state than the cache holds.
func (r *reconciler) reread(ctx context.Context, p pair) error {
	found, err := r.remote.pod(ctx, p.space.remote, p.key.name)
	if err != nil {
		return err
	}
	p.space.pods.put(found)
	r.queue.Add(p.key)
	return nil
}

// update applies what differs in the mutable fields. The status is copied even
// when the remote refuses: an ephemeral container that its Pod Security forbids
// can never be removed from the local pod again.
func (r *reconciler) update(ctx context.Context, p pair) error {
	remote, err := r.whole(ctx, p)
	if err != nil {
		return errors.Join(err, r.follow(ctx, p))
	}
	patches, err := r.mapper.Update(p.local, remote)
	if err != nil {
		return err
	}
	var refused []error
	for _, patch := range patches {
		patched, err := r.remote.patchPod(ctx, refTo(remote), patch)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		p.remote = patched
		p.space.pods.put(patched)
	}
	return errors.Join(append(refused, r.follow(ctx, p))...)
}

// follow copies the remote status up and keeps the pod's needs fresh.
func (r *reconciler) follow(ctx context.Context, p pair) error {
	if err := r.copyStatus(ctx, p); err != nil {
		return err
	}
	_, err := r.tokens.ensure(ctx, p.space, p.local)
	return err
}

// whole returns the remote pod with all that Update reads of it.
func (r *reconciler) whole(ctx context.Context, p pair) (*corev1.Pod, error) {
	if !translate.AddsEphemeral(p.local, p.remote) {
		return p.remote, nil
	}
	return r.remote.pod(ctx, p.remote.Namespace, p.remote.Name)
}

func (r *reconciler) copyStatus(ctx context.Context, p pair) error {
	if !p.same() {
		return nil // the remote pod is another local pod's, which is gone
	}
	status := r.mapper.Status(p.local, p.remote, metav1.NewTime(r.clock.Now()))
	annotations := r.mapper.Annotations(p.local, p.remote)
	patch, err := translate.StatusPatch(p.local, status, annotations)
	if err != nil || patch == nil {
		r.batch.written(p.local.UID)
		return err
	}
	if wait := r.batch.wait(p.local.UID, translate.StatusDelay(p.local, status)); wait > 0 {
		r.queue.AddAfter(p.key, wait)
		return nil
	}
	r.batch.written(p.local.UID)
	return r.patch(ctx, p.local, patch)
}

// patchStatus writes the difference between the local pod and status, if any.
func (r *reconciler) patchStatus(ctx context.Context, local *corev1.Pod, status *corev1.PodStatus, annotations map[string]string) error {
	patch, err := translate.StatusPatch(local, status, annotations)
	if err != nil || patch == nil {
		return err
	}
	return r.patch(ctx, local, patch)
}

func (r *reconciler) patch(ctx context.Context, local *corev1.Pod, patch []byte) error {
	patched, err := r.local.patchStatus(ctx, refTo(local), patch)
	if gone(err) {
		return nil // the watch tells what became of it
	}
	if err != nil {
		return err
	}
	r.pods.put(patched)
	return nil
}

// fail ends a local pod for good. That its remote pod is gone is asked of the
// remote API server itself: a cache may lag, and this cannot be undone.
func (r *reconciler) fail(ctx context.Context, p pair, step translate.Step) error {
	if step.Reason != translate.ReasonRemotePodInvalid {
		found, err := r.remote.pod(ctx, p.space.remote, p.key.name)
		if err == nil {
			p.space.pods.put(found)
			return fmt.Errorf("remote pod %s/%s is there, but was not seen", p.space.remote, p.key.name)
		}
		if !apierrors.IsNotFound(err) {
			return err
		}
	}
	status := r.mapper.FailedStatus(p.local, step.Reason, step.Message, metav1.NewTime(r.clock.Now()))
	if err := r.patchStatus(ctx, p.local, status, nil); err != nil {
		return err
	}
	r.recorder.Event(p.local, corev1.EventTypeWarning, step.Reason, step.Message)
	return nil
}

// deleteRemote deletes the remote pod of a local one that ends or has gone.
func (r *reconciler) deleteRemote(ctx context.Context, p pair, step translate.Step) error {
	if p.local == nil {
		allowed, err := r.mayDeleteOrphan(ctx, p)
		if err != nil || !allowed {
			return err
		}
	}
	if err := r.remote.deletePod(ctx, refTo(p.remote), step.GracePeriodSeconds); err != nil {
		return err
	}
	return r.copyStatus(ctx, p)
}

// mayDeleteOrphan decides whether a remote pod without a local one may go. The
// deletion was watched, or the local API server itself must say that the pod
// is gone, and the sweep must not have stopped itself.
func (r *reconciler) mayDeleteOrphan(ctx context.Context, p pair) (bool, error) {
	uid := types.UID(p.remote.Labels[contract.LabelUID])
	if r.register.sawDeleted(uid) {
		return true, nil
	}
	there, err := r.local.hasPod(ctx, podRef{p.key.namespace, p.key.name, uid})
	if err != nil || there {
		return false, err
	}
	return r.brake.allows(), nil
}

// release lets the local pod go, now that nothing of it runs any more.
func (r *reconciler) release(ctx context.Context, p pair) error {
	if secret := p.space.secrets.get(p.space.remote, contract.TokenSecretName(p.local.UID)); secret != nil {
		if err := r.tokens.remove(ctx, p.space, secret); err != nil {
			return err
		}
	}
	// The API server writes a grace period of 0 before it deletes, and the watch
	// shows that: a second delete would follow the first.
	if wait := r.released.wait(p.local.UID); wait > 0 {
		r.queue.AddAfter(p.key, wait)
		return nil
	}
	if err := r.local.release(ctx, refTo(p.local)); err != nil {
		return err
	}
	r.released.done(p.local.UID)
	return nil
}
