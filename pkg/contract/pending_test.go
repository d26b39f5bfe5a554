package contract

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRemotelyPending(t *testing.T) {
	t.Parallel()
	scheduled := func(status corev1.ConditionStatus) []corev1.PodCondition {
		return []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionFalse},
			{Type: ConditionRemoteScheduled, Status: status, Message: "no room"},
		}
	}
	cases := map[string]struct {
		reason     string
		phase      corev1.PodPhase
		deleted    *metav1.Time
		conditions []corev1.PodCondition
		want       bool
	}{
		"Pending":   {reason: "the remote scheduler says so", phase: corev1.PodPending, conditions: scheduled(corev1.ConditionFalse), want: true},
		"Scheduled": {reason: "its containers start", phase: corev1.PodPending, conditions: scheduled(corev1.ConditionTrue)},
		"New":       {reason: "nobody has said anything yet", phase: corev1.PodPending},
		"Failed":    {reason: "it waits for nothing any more", phase: corev1.PodFailed, conditions: scheduled(corev1.ConditionFalse)},
		"Deleted": {
			reason:     "nobody wants it to run",
			phase:      corev1.PodPending,
			deleted:    new(metav1.Now()),
			conditions: scheduled(corev1.ConditionFalse),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: tc.deleted},
				Status:     corev1.PodStatus{Phase: tc.phase, Conditions: tc.conditions},
			}
			got := RemotelyPending(pod)
			if (got != nil) != tc.want || got != nil && got.Message != "no room" {
				t.Errorf("%s: want %t, got %v", tc.reason, tc.want, got)
			}
		})
	}
}
