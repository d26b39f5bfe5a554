package node

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
)

// An akd that could not start left a Node that only said that its kubelet had stopped.
// It must not overrule another akd that serves the node.
func TestMarkNotReady(t *testing.T) {
	t.Parallel()
	before, now := metav1.NewTime(time.Unix(1000, 0)), metav1.NewTime(time.Unix(2000, 0))
	ready := func(status corev1.ConditionStatus, reason string) *corev1.NodeCondition {
		return &corev1.NodeCondition{
			Type: corev1.NodeReady, Status: status, Reason: reason, Message: "old", LastHeartbeatTime: before, LastTransitionTime: before,
		}
	}
	marked := func(since metav1.Time) *corev1.NodeCondition {
		return &corev1.NodeCondition{
			Type: corev1.NodeReady, Status: corev1.ConditionFalse, Reason: "Rejected", Message: "server a remote server",
			LastHeartbeatTime: now, LastTransitionTime: since,
		}
	}
	for name, tc := range map[string]struct {
		reason    string
		had, want *corev1.NodeCondition
	}{
		"Lost":     {reason: "nobody serves it", had: ready(corev1.ConditionUnknown, "NodeStatusUnknown"), want: marked(now)},
		"Marked":   {reason: "a heartbeat", had: ready(corev1.ConditionFalse, "Rejected"), want: marked(before)},
		"Served":   {reason: "by another akd", had: ready(corev1.ConditionTrue, "RemoteReady"), want: ready(corev1.ConditionTrue, "RemoteReady")},
		"Also ill": {reason: "likewise", had: ready(corev1.ConditionFalse, "Unreachable"), want: ready(corev1.ConditionFalse, "Unreachable")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			other := corev1.NodeCondition{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionUnknown}
			client := fake.NewClientset(&corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: "ak"},
				Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{other, *tc.had}},
			})
			mark := NotReady{Reason: "Rejected", Message: "server 192.0.2.1", Now: now.Time}
			if err := mark.Mark(t.Context(), cluster.NewLocal(cluster.Clients{Node: client}, "ak")); err != nil {
				t.Fatal(err)
			}
			found, err := client.CoreV1().Nodes().Get(t.Context(), "ak", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]corev1.NodeCondition{other, *tc.want}, found.Status.Conditions); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
	t.Run("Not registered", func(t *testing.T) {
		t.Parallel()
		client := fake.NewClientset()
		if err := (NotReady{Reason: "Rejected"}).Mark(t.Context(), cluster.NewLocal(cluster.Clients{Node: client}, "ak")); err != nil {
			t.Error(err)
		}
	})
}
