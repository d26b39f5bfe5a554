//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// onceJob is a Job on a node that allows no failure.
func onceJob(node string) string {
	return fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {kubernetes.io/hostname: %s}
      containers: [{name: main, image: busybox:1.36, imagePullPolicy: Never, command: ["true"]}]
`, node)
}

// A policy of the remote cluster that denied all pods made one replica leave 629 failed
// pods in 20 s. Nothing is lost now, nothing is replaced, and all run when it ends.
func TestPolicyOfTwoMinutes(t *testing.T) {
	env.SkipUnlessSlow(t)
	e := shared
	e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "sundays")
	first := e.Pod(namespace, "first")
	e.Apply(t, namespace, sleeper("first", "")) // opens the namespace
	first.WaitReady(t)
	policy := denyPods(t, e, contract.RemoteNamespace(env.ExampleNode, namespace))
	e.Apply(t, namespace, env.Web(env.ExampleNode, 5))
	e.Apply(t, namespace, onceJob(env.ExampleNode))

	seen := map[string]bool{}
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
		for _, pod := range e.Pods(t, namespace) {
			seen[pod.Name] = true
			if pod.Status.Phase == corev1.PodFailed {
				t.Fatalf("pod %s failed: %s: %s", pod.Name, pod.Status.Reason, pod.Status.Message)
			}
		}
		<-time.After(time.Second) // an interval between looks
	}
	if len(seen) != 7 {
		t.Errorf("%d pods were there in two minutes, want the first, five and one: %v", len(seen), seen)
	}
	e.Kubectl(t, "remote", "delete", "validatingadmissionpolicybinding", policy)
	began := time.Now()
	e.WaitRollout(t, namespace, "deployment/web")
	env.Eventually(t, "the job is complete", func(ctx context.Context) error {
		job, err := e.Local.BatchV1().Jobs(namespace).Get(ctx, "once", metav1.GetOptions{})
		if err == nil && (job.Status.Succeeded != 1 || job.Status.Failed != 0) {
			err = fmt.Errorf("its status is %+v", job.Status)
		}
		return err
	})
	t.Logf("everything ran %v after the policy ended", time.Since(began).Round(time.Second))
}
