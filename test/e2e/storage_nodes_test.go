//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// TestStorageNodes has two remote nodes, each with volumes of its own, behind one local one.
// Pods follow their data, and wait where it cannot be reached: nothing makes a second, empty
// volume on the other node (I4).
func TestStorageNodes(t *testing.T) {
	env.SkipUnlessSlow(t)
	t.Parallel() // its clusters are its own
	s := stored{Env: env.UpAlone(t, "--remote-nodes=2", "--local-path"), node: "spread"}
	s.InstallStorage(t, s.node)
	namespace := s.Namespace(t, "spread")
	s.Kubectl(t, "remote", "cordon", "remote-2")
	s.Apply(t, namespace, s.database(1, "Retain"))
	s.WaitRollout(t, namespace, "statefulset/db")
	s.Kubectl(t, "remote", "uncordon", "remote-2")
	s.Kubectl(t, "remote", "cordon", "remote-1")
	s.Kubectl(t, "local", "scale", "statefulset/db", "--replicas=2", "-n", namespace)
	s.WaitRollout(t, namespace, "statefulset/db")
	s.Kubectl(t, "remote", "uncordon", "remote-1")
	s.wantNode(t, namespace, "db-0", "remote-1")
	s.wantNode(t, namespace, "db-1", "remote-2")
	s.followData(t, namespace)
	s.waitForData(t, namespace)
	if found := s.remoteClaims(t, namespace); len(found) != 2 {
		t.Errorf("%d remote claims, want 2", len(found))
	}
}

// followData: wherever there is room, pods go back to their data.
func (s stored) followData(t *testing.T, namespace string) {
	t.Helper()
	for range 3 {
		s.Kubectl(t, "local", "delete", "pods", "-l", "app=db", "-n", namespace)
		s.WaitRollout(t, namespace, "statefulset/db")
		s.wantNode(t, namespace, "db-0", "remote-1")
		s.wantNode(t, namespace, "db-1", "remote-2")
	}
	s.wantLog(t, namespace, "db-0", "db-0", "db-0", "db-0", "db-0")
}

// waitForData: the node with the data is drained. The pod waits, and says for what, until the
// node is back.
func (s stored) waitForData(t *testing.T, namespace string) {
	t.Helper()
	s.Kubectl(t, "remote", "drain", "remote-1", "--ignore-daemonsets", "--timeout=3m", "--pod-selector="+contract.LabelNodeName+"="+s.node)
	s.Pod(namespace, "db-0").Eventually(t, "pod db-0 waits for the node of its volume", func(pod *corev1.Pod) error {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == contract.ConditionRemoteScheduled && condition.Status == corev1.ConditionFalse {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %+v", pod.Status.Conditions)
	})
	s.Kubectl(t, "remote", "uncordon", "remote-1")
	s.WaitRollout(t, namespace, "statefulset/db")
	s.wantNode(t, namespace, "db-0", "remote-1")
	s.wantLog(t, namespace, "db-0", "db-0", "db-0", "db-0", "db-0", "db-0")
}

// wantNode checks on which remote node a pod runs.
func (s stored) wantNode(t *testing.T, namespace, name, want string) {
	t.Helper()
	env.Eventually(t, "pod "+name+" runs on "+want, func(ctx context.Context) error {
		pod, err := s.Remote.CoreV1().Pods(s.remote(namespace)).Get(ctx, name, metav1.GetOptions{})
		if err == nil && pod.Spec.NodeName != want {
			err = fmt.Errorf("it runs on %q", pod.Spec.NodeName)
		}
		return err
	})
}
