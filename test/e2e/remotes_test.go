//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// spreadOverNodes is a Deployment of docs/nodes.md, over the nodes near and far.
const spreadOverNodes = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
            - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [near, far]}]
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: DoNotSchedule
        nodeTaintsPolicy: Honor
        labelSelector: {matchLabels: {app: web}}
      tolerations:
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
      containers:
      - {name: web, image: "busybox:1.36", imagePullPolicy: Never, command: [sleep, "3600"]}
`

// A local cluster has a node in each of two remote clusters. One of these is lost: its half
// of a Deployment is replaced in the other one, and ends when it is found again.
//
// Kubernetes evicts no pods while most nodes of a small cluster are NotReady, as those of tests
// that have ended are in the shared one.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/nodelifecycle/node_lifecycle_controller.go (ComputeZoneState)
func TestTwoRemotes(t *testing.T) {
	env.SkipUnlessSlow(t)
	t.Parallel() // its clusters are its own
	e, other := env.UpAlone(t), env.UpAlone(t, "--local-nodes=0")
	kubeconfig, link := e.LinkTo(t, other)
	e.StartAKD(t, "near")
	e.StartAKD(t, "far", "--remote-kubeconfig", kubeconfig, "--kubelet-api-port", "10253", "--metrics-address", "",
		"--remote-grace-period", "10s")
	namespace := e.Namespace(t, "two-remotes")
	e.Apply(t, namespace, spreadOverNodes)
	e.WaitRollout(t, namespace, "deployment/web")
	waitOn(t, e, namespace, map[string]int{"near": 2, "far": 2})
	kept := podsOn(t, e, namespace, "near")

	link.Lose()
	waitOn(t, e, namespace, map[string]int{"near": 4})
	link.Find()
	env.Eventually(t, "the lost cluster has no pod of the namespace any more", func(ctx context.Context) error {
		left, err := other.Remote.CoreV1().Pods(contract.RemoteNamespace("far", namespace)).List(ctx, metav1.ListOptions{})
		if err == nil && len(left.Items) > 0 {
			err = fmt.Errorf("%d are left", len(left.Items))
		}
		return err
	})
	waitOn(t, e, namespace, map[string]int{"near": 4})
	for _, uid := range kept {
		if !slices.Contains(podsOn(t, e, namespace, "near"), uid) {
			t.Errorf("pod %s of the other node is gone", uid)
		}
	}
}

// podsOn returns the UIDs of a namespace's pods on a node.
func podsOn(t *testing.T, e *env.Env, namespace, node string) (uids []string) {
	t.Helper()
	for _, pod := range e.Pods(t, namespace) {
		if pod.Spec.NodeName == node {
			uids = append(uids, string(pod.UID))
		}
	}
	return uids
}

// waitOn waits until as many pods of a namespace are ready on each node, and live on no other.
func waitOn(t *testing.T, e *env.Env, namespace string, want map[string]int) {
	t.Helper()
	env.Eventually(t, fmt.Sprintf("pods are ready as %v", want), func(context.Context) error {
		got, total := map[string]int{}, 0
		for _, pod := range e.Pods(t, namespace) {
			ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			})
			if pod.DeletionTimestamp == nil && ready {
				got[pod.Spec.NodeName]++
				total++
			}
		}
		for node, pods := range want {
			if got[node] != pods {
				return fmt.Errorf("they are %v", got)
			}
			total -= pods
		}
		if total > 0 {
			return fmt.Errorf("they are %v", got)
		}
		return nil
	})
}
