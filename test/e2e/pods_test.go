//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// The pods of a Deployment are Running locally, exist under the same names in
// the mapped remote namespace on real nodes, and work with logs and exec.
func TestDeploymentRunsRemotely(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "crossplane-system")
	e.Apply(t, namespace, env.Web(env.ExampleNode, 2))
	e.WaitRollout(t, namespace, "deployment/web")

	remote := "vk-ak-example-d05fe343c4951ecb"
	selector := contract.LabelNodeName + "=" + env.ExampleNode + "," + contract.LabelNamespace + "=" + namespace
	found := strings.Fields(e.Kubectl(t, "remote", "get", "namespaces", "-l", selector, "-o", "jsonpath={.items[*].metadata.name}"))
	if len(found) != 1 || found[0] != remote {
		t.Fatalf("remote namespaces with %s: %v, want %s alone", selector, found, remote)
	}
	for _, pod := range e.Pods(t, namespace) {
		mirrored, err := e.Remote.CoreV1().Pods(remote).Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if mirrored.Spec.NodeName == "" || mirrored.Spec.NodeName == env.ExampleNode {
			t.Errorf("remote pod %s is on node %q, want a real one", pod.Name, mirrored.Spec.NodeName)
		}
		if pod.Status.PodIP == "" || pod.Status.PodIP != mirrored.Status.PodIP {
			t.Errorf("pod %s has IP %q locally and %q remotely", pod.Name, pod.Status.PodIP, mirrored.Status.PodIP)
		}
		want := map[string]string{
			contract.AnnotationRemoteNamespace: remote,
			contract.AnnotationRemoteNode:      mirrored.Spec.NodeName,
			contract.AnnotationRemoteUID:       string(mirrored.UID),
		}
		for name, value := range want {
			if pod.Annotations[name] != value {
				t.Errorf("pod %s: annotation %s is %q, want %q", pod.Name, name, pod.Annotations[name], value)
			}
		}
		if log := e.Kubectl(t, "local", "logs", "-n", namespace, pod.Name); log != "hello from "+pod.Name+"\n" {
			t.Errorf("logs of %s: %q", pod.Name, log)
		}
		if host := e.Kubectl(t, "local", "exec", "-n", namespace, pod.Name, "--", "hostname"); host != pod.Name+"\n" {
			t.Errorf("exec hostname in %s: %q", pod.Name, host)
		}
	}
	_, _, err := e.TryKubectl("local", nil, "exec", "-n", namespace, "deploy/web", "--", "sh", "-c", "exit 42")
	if code := env.ExitCode(err); code != 42 {
		t.Errorf("exec of a command that exits 42 gave %d (%v)", code, err)
	}

	e.Kubectl(t, "local", "delete", "deployment", "web", "-n", namespace, "--wait", "--cascade=foreground", "--timeout=3m")
	env.Eventually(t, "the remote pods are gone", func(ctx context.Context) error {
		left, err := e.Remote.CoreV1().Pods(remote).List(ctx, metav1.ListOptions{})
		if err == nil && len(left.Items) > 0 {
			err = fmt.Errorf("%d left", len(left.Items))
		}
		return err
	})
}

// akd is killed in the middle of a scale-up and started again: every pod runs
// exactly once.
func TestKillDuringScaleUp(t *testing.T) {
	e := shared
	const replicas = 30
	akd := e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "kill-during-scale-up")
	e.Apply(t, namespace, env.Web(env.ExampleNode, 0))
	e.Kubectl(t, "local", "scale", "deployment/web", "-n", namespace, fmt.Sprintf("--replicas=%d", replicas))
	remote := contract.RemoteNamespace(env.ExampleNode, namespace)
	env.Eventually(t, "some remote pods exist", func(ctx context.Context) error {
		created, err := e.Remote.CoreV1().Pods(remote).List(ctx, metav1.ListOptions{})
		if err == nil && len(created.Items) == 0 {
			err = errors.New("none yet")
		}
		return err
	})
	akd.Stop(t, syscall.SIGKILL)
	akd.Start(t)
	e.WaitRolloutWithin(t, 5*time.Minute, namespace, "deployment/web")

	exactlyOnce(t, e, namespace, remote)
}

// exactlyOnce checks that every local pod has a remote pod of its own, and that
// there are no other remote pods.
func exactlyOnce(t *testing.T, e *env.Env, namespace, remote string) {
	t.Helper()
	left, err := e.Remote.CoreV1().Pods(remote).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]string{} // local UID → remote pod
	for _, pod := range left.Items {
		uid := pod.Labels[contract.LabelUID]
		if other, found := of[uid]; found {
			t.Errorf("remote pods %s and %s serve the same local pod", other, pod.Name)
		}
		of[uid] = pod.Name
	}
	for _, pod := range e.Pods(t, namespace) {
		if of[string(pod.UID)] != pod.Name {
			t.Errorf("local pod %s has no remote pod of its own", pod.Name)
		}
		delete(of, string(pod.UID))
	}
	if len(of) > 0 {
		t.Errorf("remote pods without a local one: %v", of)
	}
}
