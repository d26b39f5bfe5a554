package install

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// After kubectl drain --ignore-daemonsets a node still has the pods of DaemonSets.
// uninstall refused because of them, for ever, and advised to drain.
func TestRunningPods(t *testing.T) {
	pod := func(name, owner string, phase corev1.PodPhase, annotations map[string]string) *corev1.Pod {
		made := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Annotations: annotations},
			Status:     corev1.PodStatus{Phase: phase},
		}
		if owner != "" {
			made.OwnerReferences = []metav1.OwnerReference{{Kind: owner, Name: "owner", Controller: new(true)}}
		}
		return made
	}
	local := &kubeclient.Cluster{Side: kubeclient.Local, Client: fake.NewClientset(
		pod("alone", "", corev1.PodRunning, nil),
		pod("daemon", "DaemonSet", corev1.PodRunning, nil),
		pod("failed", "ReplicaSet", corev1.PodFailed, nil),
		pod("mirror", "Node", corev1.PodRunning, map[string]string{corev1.MirrorPodAnnotationKey: "hash"}),
		pod("succeeded", "Job", corev1.PodSucceeded, nil),
		pod("waiting", "ReplicaSet", corev1.PodPending, nil),
	)}
	got, err := runningPods(t.Context(), local, "vk")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"shop/alone", "shop/waiting"}, got); diff != "" {
		t.Errorf("what drain moves counts (-want +got):\n%s", diff)
	}
}
