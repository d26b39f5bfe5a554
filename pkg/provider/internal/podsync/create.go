package podsync

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// create mirrors the objects that the pod needs and then creates it.
func (r *reconciler) create(ctx context.Context, p pair) error {
	if !r.services.HasSynced() {
		return errors.New("services have not been read yet")
	}
	// Refuse a pod that cannot run before anything is mirrored for it.
	rejected, err := r.admission.admit(ctx, p.local)
	if err != nil {
		return err
	}
	if rejected.Reason != "" {
		return r.fail(ctx, p, translate.Step{Reason: rejected.Reason, Message: rejected.Message})
	}
	if _, err := p.remoteNamespace.Site.Pod(p.local, translate.PodContext{}); err != nil {
		return err
	}
	if refusal := r.references.Waiting(podID(p.local)); refusal != nil {
		return refusal
	}
	claims, err := r.storage.Mount(ctx, p.local, p.remoteNamespace)
	if err != nil {
		return err
	}
	inSync := r.needsInSync(p)
	secret, ready, err := r.tokens.Prepare(ctx, p.remoteNamespace, p.local)
	if err != nil {
		return err
	}
	if !ready {
		return queue.ErrWaits
	}
	if !inSync {
		if err := errors.Join(r.tokens.Store(ctx, p.remoteNamespace, secret), r.notCopied(p)); err != nil {
			return err
		}
		return queue.ErrWaits
	}
	around := r.podContext(p)
	around.Claims = claims
	if around.LocalResources, err = r.admission.localResources(ctx, p.local); err != nil {
		return err
	}
	wanted, leftOut, err := p.remoteNamespace.Site.FittingPod(p.local, around)
	if err != nil {
		return err
	}
	if leftOut != "" {
		r.recorder.Event(p.local, corev1.EventTypeWarning, translate.ReasonServiceLinksLeftOut, leftOut)
	}
	return r.createWith(ctx, p, secret, wanted)
}

// createWith creates the remote pod and, concurrently, the Secret with its
// tokens: the Secret exists long before a kubelet requests it. If its write
// fails, syncStatus writes it.
func (r *reconciler) createWith(ctx context.Context, p pair, secret *corev1.Secret, wanted *corev1.Pod) error {
	first := r.index.sends(p.local.UID)
	stored := make(chan error, 1)
	go func() { stored <- r.tokens.Store(ctx, p.remoteNamespace, secret) }()
	created, err := r.remote.CreatePod(ctx, wanted)
	if err != nil {
		created = wanted
	}
	if first && cluster.HasRefused(err) {
		r.index.refused(p.local.UID)
	}
	return errors.Join(<-stored, r.created(ctx, p, created, err))
}

// created handles the remote API server's answer to the creation of a pod. pod is the
// created one, or the one that was sent if there is an error.
func (r *reconciler) created(ctx context.Context, p pair, pod *corev1.Pod, err error) error {
	switch {
	case err == nil:
		p.remoteNamespace.Pods.Put(pod)
		r.storage.Forget(p.local.UID)
		r.tellWhatStaysBehind(p.local)
		return nil
	case apierrors.IsAlreadyExists(err):
		return r.reread(ctx, p)
	case isInvalid(pod, err):
		return r.fail(ctx, p, translate.Step{Reason: translate.ReasonRemotePodInvalid, Message: r.mapper.LocalText(p.local, err.Error())})
	}
	return err
}

// tellWhatStaysBehind records events about what the remote pod does not have of the local one.
func (r *reconciler) tellWhatStaysBehind(local *corev1.Pod) {
	for _, told := range []struct{ kind, reason, text string }{
		{corev1.EventTypeWarning, translate.ReasonNotCopied, r.mapper.NotCopied(local)},
		{corev1.EventTypeWarning, translate.ReasonRequirementsLeftOut, r.mapper.LeftOut(local, r.admission.observed())},
		{corev1.EventTypeNormal, translate.ReasonOnePerNode, r.mapper.OnePerNode(local)},
	} {
		if told.text != "" {
			r.recorder.Event(local, told.kind, told.reason, told.text)
		}
	}
}

// isInvalid reports whether no retry can create the pod.
func isInvalid(sent *corev1.Pod, err error) bool {
	answer, ok := errors.AsType[*apierrors.StatusError](err)
	return ok && translate.IsInvalid(sent, answer.Status())
}

// needsInSync reports whether all objects that the pod refers to have been
// mirrored. It requests all of them, not only the first missing one.
func (r *reconciler) needsInSync(p pair) bool {
	needs := r.mapper.NeedsOf(p.local)
	settled := true
	for _, name := range needs.ConfigMaps {
		settled = r.configMaps.InSync(p.remoteNamespace, name, p.key) && settled
	}
	for _, name := range needs.Secrets {
		settled = r.secrets.InSync(p.remoteNamespace, name, p.key) && settled
	}
	return settled
}

// notCopied returns a *translate.Refusal if one of the copies that the pod waits for
// cannot be made, or nil.
func (r *reconciler) notCopied(p pair) error {
	needs := r.mapper.NeedsOf(p.local)
	for _, name := range needs.ConfigMaps {
		if err := r.configMaps.Failure(p.remoteNamespace, name); err != nil {
			return p.remoteNamespace.Site.RefuseCopy(p.local, "ConfigMap", name, err)
		}
	}
	for _, name := range needs.Secrets {
		if err := r.secrets.Failure(p.remoteNamespace, name); err != nil {
			return p.remoteNamespace.Site.RefuseCopy(p.local, "Secret", name, err)
		}
	}
	return nil
}

// podContext returns the local objects from which a kubelet builds the pod's
// environment.
func (r *reconciler) podContext(p pair) translate.PodContext {
	pod := p.local
	around := translate.PodContext{
		Services:    r.services.In(pod.Namespace),
		ConfigMaps:  map[string]*corev1.ConfigMap{},
		Secrets:     map[string]*corev1.Secret{},
		Nameservers: r.services.Nameservers(),
		Node:        r.admission.observed(),
		Displaced:   translate.Displaced{ConfigMaps: map[string]bool{}, Secrets: map[string]bool{}},
	}
	needs := r.mapper.NeedsOf(pod)
	for _, name := range needs.ConfigMaps {
		if found := r.configMaps.Local(pod.Namespace, name); found != nil {
			around.ConfigMaps[name] = found
		}
		if r.configMaps.Displaced(p.remoteNamespace, name) {
			around.Displaced.ConfigMaps[name] = true
		}
	}
	for _, name := range needs.Secrets {
		if found := r.secrets.Local(pod.Namespace, name); found != nil {
			around.Secrets[name] = found
		}
		if r.secrets.Displaced(p.remoteNamespace, name) {
			around.Displaced.Secrets[name] = true
		}
	}
	return around
}

// reread reads the remote pod again, because a write met a different state than the
// cached one.
func (r *reconciler) reread(ctx context.Context, p pair) error {
	if _, err := r.readRemote(ctx, p); err != nil {
		return err
	}
	return r.lookAgain(p)
}

// lookAgain takes the next step from what has just been read of the remote pod. Until a
// cache has noticed that a backup of its cluster was restored, it refuses what it takes for
// older than what it knows: the step would be the same one, and is retried with a back-off.
func (r *reconciler) lookAgain(p pair) error {
	if p.remoteNamespace.Pod(p.key.Name) == p.remote {
		return fmt.Errorf("remote pod %s/%s is there, but was not seen", p.remoteNamespace.Name, p.key.Name)
	}
	r.queue.Add(p.key)
	return nil
}

// readRemote reads the remote pod of that name from the API server into the cache, and
// returns it.
func (r *reconciler) readRemote(ctx context.Context, p pair) (*corev1.Pod, error) {
	found, err := r.remote.GetPod(ctx, p.remoteNamespace.Name, p.key.Name)
	if err != nil {
		return nil, err
	}
	p.remoteNamespace.Pods.Put(found)
	return found, nil
}
