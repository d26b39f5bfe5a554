package node

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	nodeutil "k8s.io/component-helpers/node/util"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/disclosure"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
)

// NotReady is why the Node is not ready.
type NotReady struct {
	Reason, Message string
	// Now is the time of the heartbeat.
	Now time.Time
}

// Mark says on the Node why no akd serves it: the cluster can only say that akd no
// longer reports. An akd that has not started marks a Node only if the cluster says so,
// or if the mark is already there: another akd may serve it. It then has to mark it
// more often than every 40 s, as a kubelet reports.
// https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/ (--node-monitor-grace-period)
func (r NotReady) Mark(ctx context.Context, local *cluster.Local) error {
	found, err := local.GetNode(ctx)
	if apierrors.IsNotFound(err) {
		return nil // akd has not registered it yet
	}
	if err != nil {
		return err
	}
	_, ready := nodeutil.GetNodeCondition(&found.Status, corev1.NodeReady)
	if ready == nil {
		return nil
	}
	marked := ready.Status == corev1.ConditionFalse && ready.Reason == r.Reason
	if ready.Status != corev1.ConditionUnknown && !marked {
		return nil
	}
	next := &corev1.NodeCondition{
		Type:               corev1.NodeReady,
		Status:             corev1.ConditionFalse,
		Reason:             r.Reason,
		Message:            disclosure.Text(r.Message),
		LastHeartbeatTime:  metav1.NewTime(r.Now),
		LastTransitionTime: metav1.NewTime(r.Now),
	}
	if marked {
		next.LastTransitionTime = ready.LastTransitionTime
	}
	return local.SetNodeCondition(ctx, found, next)
}
