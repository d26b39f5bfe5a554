package provider

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

const (
	// patience is how many attempts in a row fail before the pod's owner hears
	// of it: about half a second, so that a race between two writers, or an
	// authorizer that lags, stays out of sight.
	patience = 5
	// refusalRetry is when a refusal is looked at again, should nothing that
	// akd watches tell earlier that its reason has gone.
	refusalRetry = time.Minute
)

// report tells the pod's owner why nothing happens, in the words of the server
// that said no, and returns the error when the attempt is to be repeated with
// back-off. No error ever fails a pod.
func (r *reconciler) report(ctx context.Context, local *corev1.Pod, err error, attempts int) error {
	if ctx.Err() != nil {
		return err
	}
	if refusal, ok := errors.AsType[*translate.Refusal](err); ok {
		r.queue.AddAfter(key{kindPod, local.Namespace, local.Name}, refusalRetry)
		return r.tell(ctx, local, refusal.Reason, refusal.Message)
	}
	if attempts < patience {
		return err
	}
	if started(local) && attempts > patience {
		return err // its owner has been told
	}
	return errors.Join(err, r.tell(ctx, local, reasonFor(err), r.site.LocalText(local, err.Error())))
}

func started(pod *corev1.Pod) bool { return pod.Status.StartTime != nil }

// tell writes a condition while the pod has not started, and an event when
// that condition says something new. A pod that runs keeps its status: an
// event, once per run of failures, is all that may be said of it.
func (r *reconciler) tell(ctx context.Context, local *corev1.Pod, reason, message string) error {
	if started(local) || local.DeletionTimestamp != nil {
		r.recorder.Event(local, corev1.EventTypeWarning, reason, message)
		return nil
	}
	status := r.site.PendingStatus(local, reason, message, metav1.NewTime(r.clock.Now()))
	patch, err := translate.StatusPatch(local, status, nil)
	if err != nil || patch == nil {
		return err
	}
	if err := r.patchStatus(ctx, local, status, nil); err != nil {
		return err
	}
	r.recorder.Event(local, corev1.EventTypeWarning, reason, message)
	return nil
}

// reasonFor turns an API server's answer into the reason of a condition.
func reasonFor(err error) string {
	switch {
	case apierrors.IsForbidden(err):
		return "RemoteForbidden"
	case apierrors.ReasonForError(err) != metav1.StatusReasonUnknown:
		return "Remote" + string(apierrors.ReasonForError(err))
	}
	return "RemoteUnavailable"
}
