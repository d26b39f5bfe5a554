package node

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/disclosure"
)

func (n *Node) conditionsLocked() []corev1.NodeCondition {
	conditions := []corev1.NodeCondition{n.readyCondition(), n.orphansCondition(), n.certificateCondition()}
	if n.Credential != nil {
		conditions = append(conditions, credentialCondition(n.Credential))
	}
	for _, pressure := range []corev1.NodeConditionType{corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure} {
		conditions = append(conditions, corev1.NodeCondition{
			Type: pressure, Status: corev1.ConditionFalse, Reason: "RemoteNodesDecide", Message: "each remote node guards itself",
		})
	}
	conditions = append(conditions, corev1.NodeCondition{
		Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionFalse, Reason: "RemoteNodesDecide",
		Message: "pods have the network of the remote nodes",
	})
	for i := range conditions {
		conditions[i].LastHeartbeatTime = metav1.NewTime(n.Clock.Now())
		conditions[i].LastTransitionTime = n.transitionLocked(conditions[i])
	}
	return conditions
}

func (n *Node) readyCondition() corev1.NodeCondition {
	if ok, reason := n.Probe.ready(); !ok {
		return corev1.NodeCondition{
			Type:    corev1.NodeReady,
			Status:  corev1.ConditionFalse,
			Reason:  "RemoteUnreachable",
			Message: disclosure.Text(reason),
		}
	}
	return corev1.NodeCondition{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "RemoteReady", Message: "the remote cluster answers",
	}
}

func (n *Node) orphansCondition() corev1.NodeCondition {
	condition := corev1.NodeCondition{Type: contract.ConditionOrphanDeletionPaused}
	if n.OrphansKept() {
		condition.Status, condition.Reason = corev1.ConditionTrue, "TooManyOrphans"
		condition.Message = "most remote pods lack a local pod and are kept: " +
			"check that akd serves the right cluster, then delete the remote namespaces by hand"
		return condition
	}
	condition.Status, condition.Reason = corev1.ConditionFalse, "FewOrphans"
	condition.Message = "few remote pods lack a local pod"
	return condition
}

func (n *Node) certificateCondition() corev1.NodeCondition {
	condition := corev1.NodeCondition{Type: contract.ConditionServingCertificateSigned}
	if signed, message := n.CertificateSigned(); !signed {
		condition.Status, condition.Reason, condition.Message = corev1.ConditionFalse, "NotSigned", message
		return condition
	}
	condition.Status, condition.Reason = corev1.ConditionTrue, "Signed"
	condition.Message = "callers can verify the kubelet API"
	return condition
}

func credentialCondition(c Credential) corev1.NodeCondition {
	condition := corev1.NodeCondition{
		Type: contract.ConditionCredentialRenewed, Status: corev1.ConditionTrue, Reason: "Renewed", Message: "it does not expire",
	}
	if expires := c.Expires(); !expires.IsZero() {
		condition.Message = "it expires at " + expires.UTC().Format(time.RFC3339)
	}
	if err := c.Problem(); err != nil {
		condition.Status, condition.Reason = corev1.ConditionFalse, "NotRenewed"
		condition.Message += ": " + disclosure.Text(err.Error())
	}
	return condition
}

// transitionLocked returns the previous transition time of a condition whose
// status has not changed, and otherwise the current time.
func (n *Node) transitionLocked(next corev1.NodeCondition) metav1.Time {
	if n.last != nil {
		for _, old := range n.last.Status.Conditions {
			if old.Type == next.Type && old.Status == next.Status {
				return old.LastTransitionTime
			}
		}
	}
	return metav1.NewTime(n.Clock.Now())
}
