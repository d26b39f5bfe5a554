package translate

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func portPod(uid string, ports ...corev1.ContainerPort) *corev1.Pod {
	now := metav1.Now()
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "pod-" + uid, UID: types.UID(uid)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Ports: ports}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now},
	}
}

func TestAdmit(t *testing.T) {
	t.Parallel()
	tcp := corev1.ContainerPort{HostPort: 8080}
	ended, waiting := portPod("2", tcp), portPod("2", tcp)
	ended.Status.Phase, waiting.Status.StartTime = corev1.PodFailed, nil
	sidecar := portPod("2")
	always := corev1.ContainerRestartPolicyAlways
	sidecar.Spec.InitContainers = []corev1.Container{{Name: "sidecar", RestartPolicy: &always, Ports: []corev1.ContainerPort{tcp}}}
	tests := map[string]struct {
		reason string
		pod    *corev1.Pod
		other  *corev1.Pod
		want   string
	}{
		"taken":              {"a node has each port once", portPod("1", tcp), portPod("2", tcp), ReasonNodePorts},
		"itself":             {"a pod does not stand in its own way", portPod("1", tcp), portPod("1", tcp), ""},
		"another port":       {"other ports are free", portPod("1", tcp), portPod("2", corev1.ContainerPort{HostPort: 8081}), ""},
		"another protocol":   {"TCP and UDP do not meet", portPod("1", tcp), portPod("2", corev1.ContainerPort{HostPort: 8080, Protocol: corev1.ProtocolUDP}), ""},
		"no host port":       {"ports of pods are their own", portPod("1", corev1.ContainerPort{ContainerPort: 8080}), portPod("2", tcp), ""},
		"ended":              {"a finished pod has given its ports back", portPod("1", tcp), ended, ""},
		"waiting":            {"who has not started has no port yet", portPod("1", tcp), waiting, ""},
		"all addresses":      {"all of the node's addresses include each", portPod("1", corev1.ContainerPort{HostPort: 8080, HostIP: "0.0.0.0"}), portPod("2", corev1.ContainerPort{HostPort: 8080, HostIP: "192.0.2.1"}), ReasonNodePorts},
		"another address":    {"two addresses do not meet", portPod("1", corev1.ContainerPort{HostPort: 8080, HostIP: "192.0.2.2"}), portPod("2", corev1.ContainerPort{HostPort: 8080, HostIP: "192.0.2.1"}), ""},
		"a native sidecar's": {"it runs as long as the pod", portPod("1", tcp), sidecar, ReasonNodePorts},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Admit(tc.pod, func() []*corev1.Pod { return []*corev1.Pod{tc.other} }); got.Reason != tc.want {
				t.Errorf("%s: rejected with %q %q, want %q", tc.reason, got.Reason, got.Message, tc.want)
			}
		})
	}
}
