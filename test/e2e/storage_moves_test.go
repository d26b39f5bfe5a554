//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// TestStorageMoves: pods move to the other remote node with their data if theirs is drained or
// lost. As long as nobody knows whether they still run, no pod runs in their place (I5).
func TestStorageMoves(t *testing.T) {
	env.SkipUnlessSlow(t)
	t.Parallel() // its clusters are its own
	s := stored{Env: env.UpAlone(t, "--remote-nodes=2", "--csi"), node: "mover"}
	s.LoadWriter(t)
	s.InstallClass(t, s.node, env.AnywhereClass)
	m := movers{stored: s, namespace: s.Namespace(t, "mover")}
	s.Kubectl(t, "remote", "cordon", "remote-2")
	s.Apply(t, m.namespace, m.manifest())
	m.waitOn(t, "remote-1", 1)
	s.Kubectl(t, "remote", "uncordon", "remote-2")
	volumes := []env.Volume{s.Claim(m.namespace, "data-db-0").WaitBound(t), s.Claim(m.namespace, "data-web").WaitBound(t)}

	m.drain(t)
	m.silence(t)
	m.lose(t)
	for _, volume := range volumes {
		volume.Remains(t)
	}
	if found := s.remoteClaims(t, m.namespace); len(found) != len(volumes) {
		t.Errorf("%d remote claims, want %d", len(found), len(volumes))
	}
}

// movers are a StatefulSet db, whose next pod has the name of the former one, and a Deployment
// web, whose next pod has another one. The claim of web is ReadWriteOncePod: ReadWriteOnce
// admits the next pod to the machine of one that is still ending.
type movers struct {
	stored

	namespace string
}

// manifest has pods that are evicted from a lost node at once. Their first container lets a
// test see their volume, and the second one says if it is not the only writer.
func (m movers) manifest() string {
	template := fmt.Sprintf(`
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {storageClassName: %s, accessModes: [ReadWriteOnce], resources: {requests: {storage: 100Mi}}}
---`, m.node)
	const volume = `
      volumes: [{name: data, persistentVolumeClaim: {claimName: data-web}}]`
	return strings.Replace(env.ClaimOf(m.node, "data-web"), "ReadWriteOnce", "ReadWriteOncePod", 1) + "---" +
		fmt.Sprintf(mover, "StatefulSet", "db", "serviceName: db", template) +
		fmt.Sprintf(mover, "Deployment", "web", "strategy: {type: Recreate}", volume)
}

const mover = `
apiVersion: apps/v1
kind: %[1]s
metadata: {name: %[2]s}
spec:
  %[3]s
  selector: {matchLabels: {app: %[2]s}}
  template:
    metadata: {labels: {app: %[2]s}}
    spec:
      terminationGracePeriodSeconds: 10
      tolerations:
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      containers:
      - name: reader
        image: busybox:1.36
        imagePullPolicy: Never
        command: [sh, -c, 'trap exit TERM; while :; do sleep 1 & wait; done']
        volumeMounts: [{name: data, mountPath: /data, readOnly: true}]
      - {name: writer, image: actual-kubelets/writer:e2e, imagePullPolicy: Never, volumeMounts: [{name: data, mountPath: /data}]}%[4]s`

// drain: the administrator of the remote cluster drains the node.
func (m movers) drain(t *testing.T) {
	t.Helper()
	m.Kubectl(t, "remote", "drain", "remote-1", "--ignore-daemonsets", "--timeout=3m", "--pod-selector="+contract.LabelNodeName+"="+m.node)
	m.waitOn(t, "remote-2", 2)
	m.Kubectl(t, "remote", "uncordon", "remote-1")
}

// silence: the kubelet does not answer, and the containers go on. The remote cluster evicts the
// pods, and their owner even deletes the local ones by force: their successors have to wait.
func (m movers) silence(t *testing.T) {
	t.Helper()
	stop := watchForTwins(t, m.Env, m.remote(m.namespace))
	m.Kill(t, "remote-2-kubelet")
	m.waitEvicted(t)
	m.Kubectl(t, "local", "delete", "pods", "--all", "-n", m.namespace, "--force", "--grace-period=0")
	m.waitHeld(t)
	began := time.Now()
	env.Eventually(t, "akd has had the time to give the pods up", func(context.Context) error {
		if time.Since(began) < outage {
			return errors.New("not yet")
		}
		return nil
	})
	m.waitHeld(t)
	m.Kubectl(t, "remote", "cordon", "remote-1")
	m.Repair(t)
	m.waitOn(t, "remote-2", 3)
	stop()
	m.Kubectl(t, "remote", "uncordon", "remote-1")
}

// lose: the machine is lost, for good as far as anybody knows. Its administrator says so, as
// Kubernetes wants it, and only then the pods move.
// https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#non-graceful-node-shutdown
func (m movers) lose(t *testing.T) {
	t.Helper()
	m.Crash(t, "remote-2")
	m.waitEvicted(t)
	m.waitHeld(t)
	m.Kubectl(t, "remote", "taint", "node", "remote-2", "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
	m.waitOn(t, "remote-1", 4)
	m.Repair(t)
	m.Kubectl(t, "remote", "taint", "node", "remote-2", "node.kubernetes.io/out-of-service-")
	m.waitOn(t, "remote-1", 4)
}

// waitOn waits until both pods run on a remote node, and see that so many pods have written
// to their volumes, each of them alone.
func (m movers) waitOn(t *testing.T, node string, starts int) {
	t.Helper()
	for _, app := range []string{"db", "web"} {
		env.Eventually(t, fmt.Sprintf("%s runs on %s with its data, as number %d", app, node, starts), func(ctx context.Context) error {
			list, err := m.Remote.CoreV1().Pods(m.remote(m.namespace)).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
			if err != nil {
				return err
			}
			if len(list.Items) != 1 || list.Items[0].Spec.NodeName != node {
				return errors.New(describe(list.Items))
			}
			out, stderr, err := m.TryKubectl("local", nil, "exec", "-n", m.namespace, list.Items[0].Name, "--",
				"sh", "-c", "cat /data/log; [ ! -e /data/conflicts ] || cat /data/conflicts")
			if err != nil {
				return fmt.Errorf("%w: %s", err, stderr)
			}
			if strings.Count(out, "\n") != starts {
				return fmt.Errorf("these pods have written, or met another writer:\n%s", out)
			}
			return nil
		})
	}
	m.WaitRollout(t, m.namespace, "statefulset/db")
	m.WaitRollout(t, m.namespace, "deployment/web")
}

func describe(pods []corev1.Pod) string {
	var all []string
	for i := range pods {
		pod := &pods[i]
		all = append(all, fmt.Sprintf("%s on %q (%s, deleted at %v)", pod.Name, pod.Spec.NodeName, pod.Status.Phase, pod.DeletionTimestamp))
	}
	return strings.Join(all, ", ")
}

// waitEvicted waits until the remote cluster has deleted the pods, which nobody can end.
func (m movers) waitEvicted(t *testing.T) {
	t.Helper()
	env.Eventually(t, "the pods are evicted", func(ctx context.Context) error {
		list, err := m.Remote.CoreV1().Pods(m.remote(m.namespace)).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if list.Items[i].DeletionTimestamp == nil {
				return errors.New(describe(list.Items))
			}
		}
		return nil
	})
}

// waitHeld waits until the successors of both pods wait for them: the one of db for its name,
// and the one of web for its volume.
func (m movers) waitHeld(t *testing.T) {
	t.Helper()
	env.Eventually(t, "the successors wait", func(ctx context.Context) error {
		local, err := m.Local.CoreV1().Pods(m.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		held := map[string]bool{}
		for i := range local.Items {
			for _, condition := range local.Items[i].Status.Conditions {
				created := condition.Type == contract.ConditionRemoteCreated && condition.Reason == translate.ReasonFormerRemotePod
				scheduled := condition.Type == contract.ConditionRemoteScheduled
				if condition.Status == corev1.ConditionFalse && (created || scheduled) {
					held[local.Items[i].Labels["app"]] = true
				}
			}
		}
		if !held["db"] || !held["web"] {
			return fmt.Errorf("only %v; locally %s", held, describe(local.Items))
		}
		return nil
	})
	started, err := m.Remote.CoreV1().Pods(m.remote(m.namespace)).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range started.Items {
		if pod := &started.Items[i]; pod.DeletionTimestamp == nil && pod.Spec.NodeName != "" {
			t.Errorf("a successor has a machine: %s", describe(started.Items))
		}
	}
}
