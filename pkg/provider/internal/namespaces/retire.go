package namespaces

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// DeleteUnused deletes the remote namespaces that no pod has used for ttl and that hold no
// claims. A node may not read namespaces, so only its pods show that a local namespace is
// gone. used reports whether the namespace has, or may get, a local pod or anything else
// that needs it. It requests again what has failed before, and looks for what was created
// without an answer.
func (o *Opener) DeleteUnused(ctx context.Context, now time.Time, ttl time.Duration, used func(*Namespace) bool) error {
	o.Namespaces.prune(now)
	var failed []error
	for uid, name := range o.Namespaces.undeleted() {
		failed = append(failed, o.deleteAgain(ctx, name, uid))
	}
	for _, local := range o.Namespaces.unclearOnes() {
		failed = append(failed, o.openUnclear(ctx, local))
	}
	for _, namespace := range o.Namespaces.All() {
		if o.Namespaces.expired(namespace, now, ttl, used(namespace)) {
			failed = append(failed, o.deleteExpired(ctx, namespace, used))
		}
	}
	return errors.Join(failed...)
}

// deleteExpired deletes an open namespace that no pod has used for long enough, unless the
// API server itself knows of pods or claims in it. Nobody opens it meanwhile.
func (o *Opener) deleteExpired(ctx context.Context, namespace *Namespace, used func(*Namespace) bool) error {
	if hasPods, err := o.Remote.HasPods(ctx, namespace.Name); err != nil || hasPods {
		if apierrors.IsForbidden(err) {
			err = o.recheckForbidden(ctx, namespace)
		}
		return err // the watch will tell of its pods
	}
	if empty, err := o.holdsNoClaims(ctx, namespace.Name, namespace.UID); err != nil || !empty {
		return err
	}
	if !o.Namespaces.close(namespace) {
		return nil
	}
	defer o.finishOpening(namespace.Local, nil)
	if used(namespace) {
		return nil // since a moment ago: a worker may be writing in it
	}
	o.Logger.Info("delete a remote namespace that no pod uses", "namespace", namespace.Name, "localNamespace", namespace.Local)
	return o.delete(ctx, namespace.Name, namespace.UID)
}

// holdsNoClaims asks the API server itself whether a namespace holds no
// PersistentVolumeClaim, whoever made it: with the namespace its data would be gone for
// good. Without an answer there may be one. What keeps a namespace is told once.
func (o *Opener) holdsNoClaims(ctx context.Context, name string, uid types.UID) (bool, error) {
	claims, err := o.Remote.CountClaims(ctx, name)
	switch {
	case apierrors.IsForbidden(err):
		if o.Namespaces.mayNotList() {
			o.Logger.Warn("remote namespaces that no pod uses stay, because akd may not list the PersistentVolumeClaims in them: "+
				"run kubectl actual install again, which grants that", "namespace", name, "error", err)
		}
		return false, nil
	case err != nil:
		return false, err
	}
	if o.Namespaces.keep(uid, claims > 0) {
		o.Logger.Warn("a remote namespace that no pod uses stays because of the PersistentVolumeClaims in it: "+
			"it is deleted when they are", "namespace", name, "claims", claims)
	}
	return claims == 0, nil
}

// deleteAgain requests once more what has failed before. A namespace that holds claims by
// now is opened instead, as soon as the former request can do no harm any more.
func (o *Opener) deleteAgain(ctx context.Context, name string, uid types.UID) error {
	namespace, err := o.Remote.GetNamespace(ctx, name)
	if apierrors.IsNotFound(err) {
		namespace, err = &corev1.Namespace{}, nil
	}
	if err != nil {
		return err
	}
	if namespace.UID != uid || namespace.DeletionTimestamp != nil {
		o.Namespaces.endDeletion(uid, nil)
		return nil
	}
	empty, err := o.holdsNoClaims(ctx, name, uid)
	switch {
	case err != nil:
		return err
	case empty:
		return o.delete(ctx, name, uid)
	case o.Namespaces.mayVanish(uid):
		return nil
	}
	return o.openKept(ctx, namespace)
}

// openKept opens a namespace whose deletion has failed, and that is not to be deleted any
// more for now.
func (o *Opener) openKept(ctx context.Context, namespace *corev1.Namespace) error {
	local := namespace.Labels[contract.LabelNamespace]
	if usable := o.checkUsable(namespace, local) == nil; !usable {
		return nil
	}
	if claimed, _ := o.Namespaces.startOpening(local); !claimed {
		return nil // another goroutine is opening it, or it is too early
	}
	err := o.prepareAndOpen(ctx, namespace, local)
	o.finishOpening(local, err)
	return err
}

// settleDeletion finds out what becomes of a namespace that is needed again, and whose
// deletion had no answer: a request that is late would delete what is in it. It requests
// the deletion once more, unless it holds claims, and returns nil if the namespace stays.
func (o *Opener) settleDeletion(ctx context.Context, namespace *corev1.Namespace) error {
	empty, err := o.holdsNoClaims(ctx, namespace.Name, namespace.UID)
	if err != nil {
		return err
	}
	if !empty {
		return fmt.Errorf("remote namespace %s %w", namespace.Name, errMayVanish)
	}
	err = o.delete(ctx, namespace.Name, namespace.UID)
	if err != nil && !o.Namespaces.mayVanish(namespace.UID) {
		return nil // it was refused
	}
	return cmp.Or(err, fmt.Errorf("remote namespace %s %w", namespace.Name, errEnding))
}

// openUnclear opens a remote namespace that was created without an answer. Nobody may
// need it any more, and only what is open is ever deleted.
func (o *Opener) openUnclear(ctx context.Context, local string) error {
	if claimed, _ := o.Namespaces.startOpening(local); !claimed {
		return nil // another goroutine is opening it, or it is too early
	}
	namespace, _, err := o.find(ctx, local)
	switch {
	case err != nil:
	case namespace == nil:
		o.Namespaces.missing(local)
	default:
		err = o.prepareAndOpen(ctx, namespace, local)
	}
	o.finishOpening(local, err)
	return err
}

// delete deletes a remote namespace that is not open, and of which holdsNoClaims has just
// said so. If it fails, DeleteUnused tries again, unless the namespace is opened first.
// Without an answer it is not: a request that is late would delete the pods in it. The mark
// tells the akd that leads next; see noteDoomed.
func (o *Opener) delete(ctx context.Context, name string, uid types.UID) error {
	o.Namespaces.planDeletion(uid, name)
	if err := o.Remote.MarkDeletion(ctx, name); err != nil {
		return err
	}
	o.Namespaces.beginDeletion(uid, name)
	err := o.Remote.DeleteNamespace(ctx, name, uid)
	o.Namespaces.endDeletion(uid, err)
	return err
}

// noteDoomed notes if a former akd was about to delete a namespace: its request may still
// arrive, and with it would go the volumes that have been made since. The former akd wrote the
// mark before its request, and while it led, so that the mark is there now. A namespace with
// pods was used since.
func (o *Opener) noteDoomed(ctx context.Context, namespace *corev1.Namespace) error {
	if !o.Storage || namespace.DeletionTimestamp != nil || o.Namespaces.deletes(namespace.UID) {
		return nil
	}
	marked, err := o.Remote.IsMarked(ctx, namespace.Name)
	if apierrors.IsForbidden(err) {
		return nil // and akd could not mark it either
	}
	if err != nil || !marked {
		return err
	}
	hasPods, err := o.Remote.HasPods(ctx, namespace.Name)
	if err != nil || hasPods {
		return err
	}
	o.Namespaces.beginDeletion(namespace.UID, namespace.Name)
	return nil
}

// SyncRecord keeps a tenant's record correct: it contains every open namespace
// and no deleted one. A recorded namespace that exists but is not open was left
// behind by an opening that failed halfway.
func (o *Opener) SyncRecord(ctx context.Context) error {
	access := o.currentAccess()
	recorded, err := access.readRecord(ctx)
	if err != nil || !access.keepsRecord() {
		return err
	}
	for _, namespace := range o.Namespaces.All() {
		if err := o.recheckRefused(ctx, namespace); err != nil {
			return err
		}
		if _, ok := recorded[namespace.Name]; ok {
			delete(recorded, namespace.Name)
			continue
		}
		if err := access.record(ctx, namespace.Name, namespace.Local); err != nil {
			return err
		}
	}
	for remote, local := range recorded {
		if err := o.recheckRecorded(ctx, remote, local); err != nil {
			return err
		}
	}
	return nil
}

// recheckRecorded opens a recorded namespace that is not open, or removes it
// from the record if it is gone.
func (o *Opener) recheckRecorded(ctx context.Context, remote, local string) (err error) {
	if claimed, _ := o.Namespaces.startOpening(local); !claimed {
		return nil // another goroutine is opening it, has opened it, or will
	}
	defer func() { o.finishOpening(local, err) }()
	namespace, err := o.Remote.GetNamespace(ctx, remote)
	if apierrors.IsNotFound(err) {
		return o.currentAccess().forget(ctx, remote)
	}
	if err != nil {
		return err
	}
	if o.Mapper.ServesAnother(namespace, local) {
		// Two local namespaces with the same hash were opened at the same time: both
		// recorded the name, one created it.
		return o.currentAccess().record(ctx, remote, namespace.Labels[contract.LabelNamespace])
	}
	if o.checkUsable(namespace, local) != nil {
		return nil
	}
	if err := o.noteDoomed(ctx, namespace); err != nil || o.Namespaces.deletes(namespace.UID) {
		return err // DeleteUnused deletes it, or opens it if it holds claims
	}
	return o.prepareAndOpen(ctx, namespace, local)
}

// recheckForbidden checks a namespace in which akd was forbidden something. A
// tenant's rights end with its namespace, so refusals are how it notices the
// deletion: it then forgets the namespace, once no pod is left in it. If the role
// binding was deleted, akd binds the role again.
func (o *Opener) recheckForbidden(ctx context.Context, forbidden *Namespace) error {
	access := o.currentAccess()
	if !access.keepsRecord() {
		return nil
	}
	namespace, there, err := o.loseIfGone(ctx, forbidden)
	switch {
	case err != nil || !there:
		return err
	case namespace.DeletionTimestamp == nil:
		return o.prepare(ctx, namespace)
	case forbidden.Pods.Refusal() == nil && forbidden.Pods.Len() == 0:
		return o.loseIfEmpty(ctx, forbidden) // otherwise its pods end first, and akd has to let go of them
	}
	return nil
}

// loseIfEmpty forgets a namespace that is being deleted, unless the API server itself knows
// pods in it, or does not say: the watch will tell of them.
func (o *Opener) loseIfEmpty(ctx context.Context, ending *Namespace) error {
	hasPods, err := o.Remote.HasPods(ctx, ending.Name)
	if err != nil && !apierrors.IsForbidden(err) || hasPods {
		return err
	}
	o.Lose(ending)
	return nil
}

// recheckRefused checks a namespace of which akd may not read everything. Its pods, whose
// watch still runs, do not show that it is gone.
func (o *Opener) recheckRefused(ctx context.Context, namespace *Namespace) error {
	switch {
	case namespace.Pods.Refusal() != nil:
		return o.recheckForbidden(ctx, namespace)
	case namespace.refused():
		_, _, err := o.loseIfGone(ctx, namespace)
		return err
	}
	return nil
}

// loseIfGone looks for an open namespace, and forgets it if it is not there any more.
func (o *Opener) loseIfGone(ctx context.Context, open *Namespace) (found *corev1.Namespace, there bool, err error) {
	found, err = o.Remote.GetNamespace(ctx, open.Name)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return nil, false, err
	case found.UID == open.UID:
		return found, true, nil
	}
	o.Lose(open)
	return nil, false, nil
}

// Lose forgets a namespace that somebody deleted. It queues all keys of the local one,
// because no watch tells them any more that they need another remote namespace.
func (o *Opener) Lose(gone *Namespace) {
	o.Namespaces.Forget(gone)
	o.queueAll(gone.Local)
}

// RecheckForbidden is recheckForbidden, limited to once per checkInterval,
// because most refusals concern a single pod: those of a quota or an admission
// policy.
func (o *Opener) RecheckForbidden(ctx context.Context, forbidden *Namespace, now time.Time) error {
	if !o.Namespaces.checkIsDue(forbidden, now) {
		return nil
	}
	return o.recheckForbidden(ctx, forbidden)
}
