//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

const exampleNode = "vk-ak-example"

// web is a Deployment whose containers really serve.
func web(node string, replicas int) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeName: ""
      nodeSelector: {kubernetes.io/hostname: %s}
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: busybox:1.36
        imagePullPolicy: Never
        command: [sh, -c, 'echo hello from $HOSTNAME; trap "exit 0" TERM; while true; do sleep 1 & wait; done']
`, replicas, node)
}

// A Deployment runs: its pods are Running locally, exist under the same names
// in the mapped remote namespace on real nodes, and answer logs and exec.
func TestDeploymentRunsRemotely(t *testing.T) {
	b := shared
	b.startAKD(t, exampleNode)
	namespace := b.namespace(t, "crossplane-system")
	b.apply(t, namespace, web(exampleNode, 2))
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=3m")

	remote := "vk-ak-example-d05fe343c4951ecb"
	selector := translate.LabelNodeName + "=" + exampleNode + "," + translate.LabelNamespace + "=" + namespace
	found := strings.Fields(b.kubectl(t, "remote", "get", "namespaces", "-l", selector, "-o", "jsonpath={.items[*].metadata.name}"))
	if len(found) != 1 || found[0] != remote {
		t.Fatalf("remote namespaces with %s: %v, want just %s", selector, found, remote)
	}
	for _, pod := range b.pods(t, namespace) {
		mirrored, err := b.remote.CoreV1().Pods(remote).Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if mirrored.Spec.NodeName == "" || mirrored.Spec.NodeName == exampleNode {
			t.Errorf("remote pod %s is on node %q, want a real one", pod.Name, mirrored.Spec.NodeName)
		}
		if pod.Status.PodIP == "" || pod.Status.PodIP != mirrored.Status.PodIP {
			t.Errorf("pod %s has IP %q locally and %q remotely", pod.Name, pod.Status.PodIP, mirrored.Status.PodIP)
		}
		want := map[string]string{
			translate.AnnotationRemoteNamespace: remote,
			translate.AnnotationRemoteNode:      mirrored.Spec.NodeName,
			translate.AnnotationRemoteUID:       string(mirrored.UID),
		}
		for name, value := range want {
			if pod.Annotations[name] != value {
				t.Errorf("pod %s: annotation %s is %q, want %q", pod.Name, name, pod.Annotations[name], value)
			}
		}
		if log := b.kubectl(t, "local", "logs", "-n", namespace, pod.Name); log != "hello from "+pod.Name+"\n" {
			t.Errorf("logs of %s: %q", pod.Name, log)
		}
		if host := b.kubectl(t, "local", "exec", "-n", namespace, pod.Name, "--", "hostname"); host != pod.Name+"\n" {
			t.Errorf("exec hostname in %s: %q", pod.Name, host)
		}
	}
	_, _, err := b.tryKubectl("local", nil, "exec", "-n", namespace, "deploy/web", "--", "sh", "-c", "exit 42")
	if code := exitCode(err); code != 42 {
		t.Errorf("exec of a command that exits 42 gave %d (%v)", code, err)
	}

	b.kubectl(t, "local", "delete", "deployment", "web", "-n", namespace, "--wait", "--cascade=foreground", "--timeout=3m")
	eventually(t, "the remote pods are gone", func(ctx context.Context) error {
		left, err := b.remote.CoreV1().Pods(remote).List(ctx, metav1.ListOptions{})
		if err == nil && len(left.Items) > 0 {
			err = fmt.Errorf("%d left", len(left.Items))
		}
		return err
	})
}

// akd is killed in the middle of a scale-up and started again: every pod runs,
// and runs once.
func TestKillDuringScaleUp(t *testing.T) {
	b := shared
	const replicas = 30
	d := b.startAKD(t, exampleNode)
	namespace := b.namespace(t, "kill-during-scale-up")
	b.apply(t, namespace, web(exampleNode, 0))
	b.kubectl(t, "local", "scale", "deployment/web", "-n", namespace, fmt.Sprintf("--replicas=%d", replicas))
	remote := translate.RemoteNamespace(exampleNode, namespace)
	eventually(t, "some remote pods exist, others do not yet", func(ctx context.Context) error {
		created, err := b.remote.CoreV1().Pods(remote).List(ctx, metav1.ListOptions{})
		if err == nil && len(created.Items) == 0 {
			err = errors.New("none yet")
		}
		return err
	})
	d.stop(t, syscall.SIGKILL)
	d.start(t)
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=5m")

	b.once(t, namespace, remote)
}

// once checks that every local pod has a remote pod of its own, and that no
// other remote pod is left.
func (b *bed) once(t *testing.T, namespace, remote string) {
	t.Helper()
	left, err := b.remote.CoreV1().Pods(remote).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]string{} // local UID → remote pod
	for _, pod := range left.Items {
		uid := pod.Labels[translate.LabelUID]
		if other, doubled := of[uid]; doubled {
			t.Errorf("remote pods %s and %s serve the same local pod", other, pod.Name)
		}
		of[uid] = pod.Name
	}
	for _, pod := range b.pods(t, namespace) {
		if of[string(pod.UID)] != pod.Name {
			t.Errorf("local pod %s has no remote pod of its own", pod.Name)
		}
		delete(of, string(pod.UID))
	}
	if len(of) > 0 {
		t.Errorf("remote pods without a local one: %v", of)
	}
}

// pods returns the pods of a local namespace and fails the test unless there
// are some.
func (b *bed) pods(t *testing.T, namespace string) []corev1.Pod {
	t.Helper()
	list, err := b.local.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) == 0 {
		t.Fatalf("no pods in %s", namespace)
	}
	return list.Items
}
