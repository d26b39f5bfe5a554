package podsync

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// refusalRetry is the delay before a refused pod is reconciled again, unless a
// watch reports earlier that the reason is gone.
const refusalRetry = time.Minute

// handleError reports to the pod's owner why nothing happens, with the message
// of the server that refused, and returns the error if the attempt is to be
// repeated with back-off. No error ever fails a pod.
//
// Once the remote pod has been created, the pod's status is the remote one's.
func (r *reconciler) handleError(ctx context.Context, p pair, err error, attempts int) error {
	if ctx.Err() != nil {
		return err
	}
	if refusal, ok := errors.AsType[*translate.Refusal](err); ok {
		r.queue.AddAfter(p.key, refusalRetry)
		return r.recordRefusal(ctx, p, refusal.Reason, refusal.Message)
	}
	if attempts < queue.QuietAttempts {
		return err
	}
	if p.started() && attempts > queue.QuietAttempts {
		return err // already reported to its owner
	}
	return errors.Join(err, r.recordRefusal(ctx, p, reasonFor(err), r.mapper.LocalText(p.local, err.Error())))
}

// started reports whether akd no longer owns the pod's status.
func (p pair) started() bool { return p.belongTogether() || p.local.Status.StartTime != nil }

// recordRefusal writes a condition while there is no remote pod, and an event
// if that condition has changed. A started pod keeps its status: it only gets
// an event, once per run of failures.
func (r *reconciler) recordRefusal(ctx context.Context, p pair, reason, message string) error {
	local := p.local
	if p.started() || local.DeletionTimestamp != nil {
		r.recorder.Event(local, corev1.EventTypeWarning, reason, message)
		return nil
	}
	status := r.mapper.PendingStatus(local, reason, message, metav1.NewTime(r.clock.Now()))
	patch, err := translate.StatusPatch(local, status, nil)
	if err != nil || patch == nil {
		return err
	}
	if written, err := r.patchStatus(ctx, local, status, nil); err != nil || !written {
		return err
	}
	r.recorder.Event(local, corev1.EventTypeWarning, reason, message)
	return nil
}

// reasonFor maps an API server's answer to the reason of a condition.
func reasonFor(err error) string {
	switch {
	case apierrors.IsForbidden(err):
		return "RemoteForbidden"
	case apierrors.ReasonForError(err) != metav1.StatusReasonUnknown:
		return "Remote" + string(apierrors.ReasonForError(err))
	case cluster.HasRefused(err): // a webhook that gives no reason
		return "RemoteForbidden"
	}
	return "RemoteUnavailable"
}
