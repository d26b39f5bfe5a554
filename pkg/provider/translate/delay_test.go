package translate

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

func TestStatusDelay(t *testing.T) {
	t.Parallel()
	started := metav1.Now()
	waiting := []corev1.ContainerStatus{
		{Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}},
	}
	failing := []corev1.ContainerStatus{
		{Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}}},
	}
	unscheduled := []corev1.PodCondition{{Type: contract.ConditionRemoteScheduled, Status: corev1.ConditionFalse}}
	tests := map[string]struct {
		reason string
		local  corev1.Pod
		next   corev1.PodStatus
		want   time.Duration
	}{
		"first": {
			reason: "the remote scheduler's word follows at once",
			local:  corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending}},
			next:   corev1.PodStatus{Phase: corev1.PodPending, StartTime: &started},
			want:   firstDelay,
		},
		"unschedulable": {
			reason: "somebody waits to hear why the pod does not start",
			local:  corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending}},
			next:   corev1.PodStatus{Phase: corev1.PodPending, StartTime: &started, Conditions: unscheduled},
		},
		"creating": {
			reason: "that containers are being created is no news: they usually start",
			local:  corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending, StartTime: &started}},
			next:   corev1.PodStatus{Phase: corev1.PodPending, StartTime: &started, ContainerStatuses: waiting},
			want:   creatingDelay,
		},
		"a container fails to start": {
			reason: "why a container waits is what people look for",
			local:  corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending, StartTime: &started, ContainerStatuses: waiting}},
			next:   corev1.PodStatus{Phase: corev1.PodPending, StartTime: &started, ContainerStatuses: failing},
		},
		"sandbox": {
			reason: "the sandbox alone is no news: the containers follow",
			local:  corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending, StartTime: &started, ContainerStatuses: waiting}},
			next:   corev1.PodStatus{Phase: corev1.PodPending, StartTime: &started, ContainerStatuses: waiting, PodIP: "192.0.2.9"},
			want:   sandboxDelay,
		},
		"running": {
			reason: "a phase is news",
			local:  corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending, StartTime: &started, ContainerStatuses: waiting}},
			next:   corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &started, ContainerStatuses: waiting},
		},
		"condition of a running pod": {
			reason: "readiness is never late",
			local:  corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &started, ContainerStatuses: waiting}},
			next:   corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &started, ContainerStatuses: waiting},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := StatusDelay(&tc.local, &tc.next); got != tc.want {
				t.Errorf("%s: %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}
