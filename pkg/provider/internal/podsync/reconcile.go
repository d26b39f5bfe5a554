package podsync

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/mirror"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/podsecret"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/storage"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// releaseCooldown is how long akd waits for a released pod to disappear before
// it releases the pod again.
const releaseCooldown = 10 * time.Second

// reconciler brings one pod, or one mirrored object, to its desired state:
// level-triggered, from caches, writing only differences. It never blocks; it
// queues the objects that it needs first, and they queue the pod again.
type reconciler struct {
	reconcilerConfig

	debouncer *statusDebouncer
	released  *cooldown
	slowdown  *slowdown
	gone      *gonePods
}

// reconcilerConfig configures a reconciler.
type reconcilerConfig struct {
	mapper     *translate.Mapper
	local      *cluster.Local
	remote     *cluster.Remote
	namespaces *namespaces.Set
	opener     *namespaces.Opener
	pods       *store.Store[*corev1.Pod]
	index      *podIndex
	guard      *orphanGuard
	// admission decides whether a new pod may run.
	admission  *admission
	tokens     *podsecret.Manager
	services   *mirror.Services
	budgets    *mirror.Budgets
	storage    *storage.Volumes
	references *mirror.References
	configMaps *mirror.Referenced[*corev1.ConfigMap]
	secrets    *mirror.Referenced[*corev1.Secret]
	recorder   record.EventRecorder
	queue      queue.Adder
	clock      clock.PassiveClock
}

func newReconciler(config reconcilerConfig) *reconciler {
	return &reconciler{
		reconcilerConfig: config,
		debouncer:        newStatusDebouncer(config.clock),
		released:         newCooldown(config.clock, releaseCooldown),
		slowdown:         newSlowdown(config.clock),
		gone:             newGonePods(),
	}
}

// forget drops the in-memory state of a deleted local pod. No other goroutine may
// reconcile a pod of its name: it would remember the deleted one again.
func (r *reconciler) forget(pod types.UID) {
	r.debouncer.written(pod)
	r.tokens.Forget(pod)
	r.storage.Forget(pod)
	r.released.end(pod)
}

func podID(pod *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}

// pair is a local pod and its remote counterpart; either may be nil.
type pair struct {
	key             queue.Key
	remoteNamespace *namespaces.Namespace
	local           *corev1.Pod
	remote          *corev1.Pod
}

// belongTogether reports whether the remote pod belongs to the local one,
// rather than to another pod with the same name.
func (p pair) belongTogether() bool {
	return p.local != nil && p.remote != nil && p.remote.Labels[contract.LabelUID] == string(p.local.UID)
}

// reconcile handles one key of the queue. attempts is the number of failures in
// a row.
func (r *reconciler) reconcile(ctx context.Context, k queue.Key, attempts int) error {
	opened := r.namespaces.Get(k.Namespace)
	err := r.reconcileKind(ctx, k, attempts)
	switch {
	case opened == nil:
	case cluster.IsRemotelyForbidden(err):
		return errors.Join(err, r.opener.RecheckForbidden(ctx, opened, r.clock.Now()))
	case lacksNamespace(err):
		r.opener.Lose(opened)
	}
	return err
}

// lacksNamespace reports whether the remote API server has refused to create an object
// because there is no such namespace.
func lacksNamespace(err error) bool {
	answer, ok := errors.AsType[*apierrors.StatusError](err)
	return ok && apierrors.IsNotFound(answer) && answer.ErrStatus.Details != nil && answer.ErrStatus.Details.Kind == "namespaces"
}

func (r *reconciler) reconcileKind(ctx context.Context, k queue.Key, attempts int) error {
	switch k.Kind {
	case queue.ConfigMap:
		return r.reconcileConfigMap(ctx, k, attempts)
	case queue.Secret:
		return r.reconcileSecret(ctx, k, attempts)
	case queue.Service:
		return r.services.ReconcileService(ctx, k, attempts)
	case queue.EndpointSlice:
		return r.services.ReconcileSlice(ctx, k, attempts)
	case queue.DisruptionBudget:
		return r.budgets.Reconcile(ctx, k, attempts)
	case queue.Volume:
		return r.storage.Reconcile(ctx, k, attempts)
	default:
		return r.reconcilePod(ctx, k, attempts)
	}
}

func (r *reconciler) reconcileConfigMap(ctx context.Context, k queue.Key, attempts int) error {
	opened := r.namespaces.Get(k.Namespace)
	if opened == nil {
		r.configMaps.Forget(k.Namespace, k.Name)
		return nil
	}
	return r.configMaps.Reconcile(ctx, opened, k.Name, attempts)
}

// reconcileSecret handles mirrored Secrets and, under their own remote names,
// the Secrets that hold a pod's tokens.
func (r *reconciler) reconcileSecret(ctx context.Context, k queue.Key, attempts int) error {
	opened := r.namespaces.Get(k.Namespace)
	if opened == nil {
		r.secrets.Forget(k.Namespace, k.Name)
		return nil
	}
	have := opened.Secrets.Get(opened.Name, k.Name)
	if have == nil || !translate.IsTokenSecret(have) {
		return r.secrets.Reconcile(ctx, opened, k.Name, attempts)
	}
	if r.index.has(types.UID(have.Labels[contract.LabelUID])) {
		return nil
	}
	return r.tokens.Remove(ctx, opened, have)
}

func (r *reconciler) reconcilePod(ctx context.Context, k queue.Key, attempts int) error {
	for _, uid := range r.gone.take(k) {
		r.forget(uid)
	}
	p := pair{key: k, remoteNamespace: r.namespaces.Get(k.Namespace), local: r.pods.Get(k.Namespace, k.Name)}
	if p.remoteNamespace != nil {
		p.remote = p.remoteNamespace.Pod(k.Name)
	}
	err := r.reconcilePair(ctx, p)
	if err != nil && p.local != nil && !errors.Is(err, queue.ErrWaits) {
		return r.handleError(ctx, p, err, attempts)
	}
	return err
}

// reconcilePair takes the next step. It opens the remote namespace of a local pod
// first, unless nothing of the pod can be in it.
func (r *reconciler) reconcilePair(ctx context.Context, p pair) error {
	if p.local != nil && !p.belongTogether() {
		if last := r.index.lastOf(p.local.UID); last != nil && r.mapper.NextEnded(p.local, last).Action == translate.Wait {
			return r.end(ctx, p, last)
		}
	}
	if p.remoteNamespace == nil {
		if p.local == nil {
			return nil
		}
		nothing, err := r.hasNothingRemote(ctx, p.local)
		if err != nil {
			return err
		}
		if !nothing {
			_, ready, err := r.opener.Ensure(ctx, p.key.Namespace)
			if ready {
				r.queue.Add(p.key) // it was opened meanwhile
			}
			return err
		}
	}
	return r.apply(ctx, p, r.mapper.Next(p.local, p.remote))
}

// hasNothingRemote reports whether a pod without an open remote namespace needs none
// to be released: nothing of it was ever sent, or the remote cluster has no
// namespace for it. No answer is not that answer: the pod may still run.
func (r *reconciler) hasNothingRemote(ctx context.Context, local *corev1.Pod) (bool, error) {
	switch {
	case translate.IsMirrorPod(local):
		return true, nil
	case local.DeletionTimestamp == nil:
		return false, nil
	case r.index.isUnsent(local.UID):
		return true, nil
	}
	return r.opener.Lacks(ctx, local.Namespace)
}

// apply carries out one step of the lifecycle table.
func (r *reconciler) apply(ctx context.Context, p pair, step translate.Step) error {
	switch step.Action {
	case translate.Create:
		return r.create(ctx, p)
	case translate.Update:
		return r.update(ctx, p)
	case translate.CopyStatus:
		return r.syncStatus(ctx, p)
	case translate.Fail:
		return r.fail(ctx, p, step)
	case translate.DeleteRemote:
		return r.deleteRemote(ctx, p, step)
	case translate.Wait:
		return r.wait(ctx, p, step)
	case translate.LetGo:
		return r.letGo(ctx, p)
	case translate.Release:
		return r.release(ctx, p)
	case translate.Refuse:
		return &translate.Refusal{Reason: step.Reason, Message: step.Message}
	case translate.None:
		return nil
	}
	return fmt.Errorf("unknown step %q of the lifecycle table", step.Action)
}

// wait copies the status of a remote pod that is ending. A pod that is given up is not
// looked at again until either pod changes.
func (r *reconciler) wait(ctx context.Context, p pair, step translate.Step) error {
	left := step.Again.Sub(r.clock.Now())
	switch {
	case step.Again.IsZero():
	case left > 0:
		r.queue.AddAfter(p.key, left)
	default:
		if news, err := r.hasNews(ctx, p); err != nil || news {
			return err
		}
	}
	return r.copyStatus(ctx, p)
}

// hasNews asks the remote API server itself for the remote pod, before akd gives it up:
// no cache, and no server that does not answer, says how a pod has ended. If the pod has
// changed, the next step comes from that.
func (r *reconciler) hasNews(ctx context.Context, p pair) (bool, error) {
	found, err := r.readRemote(ctx, p)
	if err != nil {
		return false, err // its deletion is still to be watched, with its last state
	}
	if found.UID == p.remote.UID && found.ResourceVersion == p.remote.ResourceVersion {
		return false, nil
	}
	return true, r.lookAgain(p)
}

// update applies the differences in mutable fields. It copies the status even
// if the remote refuses: an ephemeral container that its Pod Security forbids
// can never be removed from the local pod again.
func (r *reconciler) update(ctx context.Context, p pair) error {
	remote, err := r.fullRemotePod(ctx, p)
	if err != nil {
		return errors.Join(err, r.syncStatus(ctx, p))
	}
	patches, err := r.mapper.Update(p.local, remote, r.podContext(p))
	if err != nil {
		return err
	}
	var refused []error
	for _, patch := range patches {
		patched, err := r.remote.PatchPod(ctx, cluster.RefTo(remote), patch)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		p.remote = patched
		p.remoteNamespace.Pods.Put(patched)
	}
	// An ephemeral container may refer to more than there is room for.
	if refusal := r.references.Waiting(podID(p.local)); refusal != nil {
		refused = append(refused, refusal)
	}
	return errors.Join(append(refused, r.syncStatus(ctx, p))...)
}

// syncStatus copies the remote status to the local pod and keeps the pod's
// needs fresh.
func (r *reconciler) syncStatus(ctx context.Context, p pair) error {
	if err := r.copyStatus(ctx, p); err != nil {
		return err
	}
	_, err := r.tokens.Ensure(ctx, p.remoteNamespace, p.local)
	return err
}

// fullRemotePod returns the remote pod with all fields that Update reads.
func (r *reconciler) fullRemotePod(ctx context.Context, p pair) (*corev1.Pod, error) {
	if !r.mapper.AddsEphemeral(p.local, p.remote) {
		return p.remote, nil
	}
	return r.remote.GetPod(ctx, p.remote.Namespace, p.remote.Name)
}

func (r *reconciler) copyStatus(ctx context.Context, p pair) error {
	if !p.belongTogether() {
		return nil // the remote pod belongs to another local pod, which is gone
	}
	status := r.mapper.Status(p.local, p.remote, metav1.NewTime(r.clock.Now()))
	annotations := r.mapper.Annotations(p.local, p.remote)
	patch, err := translate.StatusPatch(p.local, status, annotations)
	if err != nil || patch == nil {
		r.debouncer.written(p.local.UID)
		return err
	}
	if wait := r.debouncer.wait(p.local.UID, translate.StatusDelay(p.local, status)); wait > 0 {
		r.queue.AddAfter(p.key, wait)
		return nil
	}
	r.freeEnded(p.local, status)
	if _, err := r.patch(ctx, p.local, patch); err != nil {
		return err // a status that waited again would begin its back-off anew
	}
	r.debouncer.written(p.local.UID)
	return nil
}

// patchStatus writes the difference between the local pod and status, if any. It reports
// whether the pod has that status now.
func (r *reconciler) patchStatus(
	ctx context.Context, local *corev1.Pod, status *corev1.PodStatus, annotations map[string]string,
) (bool, error) {
	patch, err := translate.StatusPatch(local, status, annotations)
	if err != nil || patch == nil {
		return err == nil, err
	}
	return r.patch(ctx, local, patch)
}

// patch reports whether the patch is applied. If the pod is another one or has changed,
// it is not, and the watch reports the new state.
func (r *reconciler) patch(ctx context.Context, local *corev1.Pod, patch []byte) (bool, error) {
	patched, err := r.local.PatchPodStatus(ctx, cluster.RefTo(local), patch)
	if cluster.IsNotFoundOrConflict(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.pods.Put(patched)
	return true, nil
}
