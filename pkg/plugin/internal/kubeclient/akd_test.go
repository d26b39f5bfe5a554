package kubeclient_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// install waited for an akd that crashed, and did not say what akd had said.
func TestAKDProblem(t *testing.T) {
	crashed := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: "1\n2\nx509: unknown authority\nakd ends\n"}}
	backOff := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 10s"}}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	for name, tc := range map[string]struct {
		reason string
		status corev1.ContainerStatus
		want   string
	}{
		"Starting": {reason: "nothing to say yet", want: "pod akd is starting"},
		"Crashing": {
			reason: "the pod's status has the end of the log",
			status: corev1.ContainerStatus{State: backOff, LastTerminationState: crashed, RestartCount: 1},
			want:   "pod akd: CrashLoopBackOff: back-off 10s: its log ends with: 2; x509: unknown authority; akd ends",
		},
		"Crashed": {
			reason: "likewise before it is started again",
			status: corev1.ContainerStatus{State: crashed},
			want:   "pod akd is not ready: its log ends with: 2; x509: unknown authority; akd ends",
		},
		"Waiting": {
			reason: "one that runs has a log",
			status: corev1.ContainerStatus{State: running},
			want:   "pod akd is not ready: its log ends with: fake logs",
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Name: "akd", Namespace: "actual-system", Labels: map[string]string{"app.kubernetes.io/name": "akd", "actual.vk/node-name": "vk"},
			}}
			if tc.status.State != (corev1.ContainerState{}) {
				pod.Status.ContainerStatuses = []corev1.ContainerStatus{tc.status}
			}
			host := &kubeclient.Cluster{Client: fake.NewClientset(pod)}
			if got := host.AKDProblem(t.Context(), "vk"); got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
