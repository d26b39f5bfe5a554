//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// A StatefulSet guarantees that each ordinal runs at most once, however often its
// pods are deleted.
func TestStatefulSetNeverTwice(t *testing.T) {
	e := shared
	const replicas, rounds = 5, 10
	e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "statefulset")
	e.Apply(t, namespace, fmt.Sprintf(`
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: %d
  serviceName: db
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      nodeSelector: {kubernetes.io/hostname: %s}
      terminationGracePeriodSeconds: 2
      containers:
      - {name: db, image: 'busybox:1.36', command: [sh, -c, 'trap exit TERM; while :; do sleep 1 & wait; done']}
`, replicas, env.ExampleNode))
	e.WaitRollout(t, namespace, "statefulset/db")
	stop := watchForTwins(t, e, contract.RemoteNamespace(env.ExampleNode, namespace))
	for range rounds {
		e.Kubectl(t, "local", "delete", "pod", "--all", "-n", namespace, "--wait=false")
	}
	e.WaitRolloutWithin(t, 5*time.Minute, namespace, "statefulset/db")
	env.Eventually(t, "all ordinals run", func(ctx context.Context) error {
		list, err := e.Local.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		running := 0
		for _, pod := range list.Items {
			if pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
				running++
			}
		}
		if running != replicas {
			return fmt.Errorf("%d run, want %d", running, replicas)
		}
		return nil
	})
	stop()
}

// watchForTwins fails the test if two remote pods of one name, or of one local
// pod, exist at the same time, or if one is deleted whose containers still run:
// the next pod of its name would run beside them.
func watchForTwins(t *testing.T, e *env.Env, namespace string) (stop func()) {
	t.Helper()
	list, err := e.Remote.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := e.Remote.CoreV1().Pods(namespace).Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	existing := map[string]types.UID{} // name, and local UID → remote pod
	for _, pod := range list.Items {
		existing[pod.Name], existing[pod.Labels[contract.LabelUID]] = pod.UID, pod.UID
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		for event := range watcher.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			for _, serves := range []string{pod.Name, pod.Labels[contract.LabelUID]} {
				switch event.Type {
				case watch.Added, watch.Modified:
					if other, ok := existing[serves]; ok && other != pod.UID {
						t.Errorf("two remote pods serve %s: %s and %s", serves, other, pod.UID)
					}
					existing[serves] = pod.UID
				case watch.Deleted:
					delete(existing, serves)
				}
			}
			runs := func(status corev1.ContainerStatus) bool { return status.State.Running != nil }
			if event.Type == watch.Deleted && slices.ContainsFunc(pod.Status.ContainerStatuses, runs) {
				t.Errorf("remote pod %s was deleted while its container runs", pod.Name)
			}
		}
	})
	return func() { watcher.Stop(); watching.Wait() }
}
