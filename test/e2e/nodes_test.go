//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	nodeutil "k8s.io/component-helpers/node/util"
	"k8s.io/component-helpers/nodedeclaredfeatures/features/restartallcontainers"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// twin is a pod with a ConfigMap and a Secret whose names are always the same;
// its log, environment and files show to which node it belongs.
func twin(node, says string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {says: %[2]s}
---
apiVersion: v1
kind: Secret
metadata: {name: password}
stringData: {password: secret of %[2]s}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  nodeName: %[1]s
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, 'echo $SAYS; trap exit TERM; while :; do sleep 1 & wait; done']
    env:
    - {name: SAYS, valueFrom: {configMapKeyRef: {name: settings, key: says}}}
    - {name: WHERE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    volumeMounts: [{name: password, mountPath: /password}]
  volumes: [{name: password, secret: {secretName: password}}]
`, node, says)
}

// Two nodes share one remote cluster, and all names on both are the same: neither
// pod gets anything of the other, and the end of one does not affect the other.
// Then the pod of one node is recreated on the other under the same name.
func TestSameNamesOnTwoNodes(t *testing.T) {
	e := shared
	e.StartAKD(t, "first")
	e.StartAKD(t, "second", "--kubelet-api-port", "10251", "--metrics-address", "")
	namespaces := map[string]string{"first": e.Namespace(t, "twins-of-first"), "second": e.Namespace(t, "twins-of-second")}
	for node, namespace := range namespaces {
		e.Apply(t, namespace, twin(node, node))
	}
	for node, namespace := range namespaces {
		e.WaitReady(t, namespace, "web")
		belongsTo(t, e, namespace, node)
	}
	kept := e.Pods(t, namespaces["second"])[0]

	e.Kubectl(t, "local", "delete", "pod", "web", "-n", namespaces["first"], "--timeout=3m")
	e.Apply(t, namespaces["first"], twin("second", "moved"))
	e.WaitReady(t, namespaces["first"], "web")
	if log := e.Kubectl(t, "local", "logs", "web", "-n", namespaces["first"]); log != "moved\n" {
		t.Errorf("the log of the pod that moved is %q", log)
	}
	old := contract.RemoteNamespace("first", namespaces["first"])
	if _, err := e.Remote.CoreV1().Pods(old).Get(t.Context(), "web", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("get its remote pod of the first node: %v, want not found", err)
	}
	belongsTo(t, e, namespaces["second"], "second")
	after := e.Pods(t, namespaces["second"])[0]
	sameRemote := after.Annotations[contract.AnnotationRemoteUID] == kept.Annotations[contract.AnnotationRemoteUID]
	if after.UID != kept.UID || !sameRemote || after.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the other node's pod is not the same as before")
	}
}

// belongsTo checks that the log, environment and files of the pod web are its own.
func belongsTo(t *testing.T, e *env.Env, namespace, node string) {
	t.Helper()
	if log := e.Kubectl(t, "local", "logs", "web", "-n", namespace); log != node+"\n" {
		t.Errorf("the log of the pod of node %s is %q", node, log)
	}
	want := fmt.Sprintf("%s %s secret of %s", namespace, node, node)
	if out := e.Pod(namespace, "web").Shell(t, "echo -n $WHERE $NODE $(cat /password/password)"); out != want {
		t.Errorf("in the pod of node %s: %q, want %q", node, out, want)
	}
}

// akd refuses two kubeconfigs of one cluster: it would create pods for its own
// pods, again and again.
func TestSameClusterOnBothSides(t *testing.T) {
	e := shared
	content, err := os.ReadFile(e.AKDKubeconfig("local"))
	if err != nil {
		t.Fatal(err)
	}
	another := filepath.Join(t.TempDir(), "kubeconfig") // akd would refuse the same file without reading it
	if err := os.WriteFile(another, content, 0o600); err != nil {
		t.Fatal(err)
	}
	akd := e.LaunchAKD(t, "mirror", "--remote-kubeconfig", another)
	akd.WaitExit(t, 2, "lead to the same cluster")
	if _, err := e.Local.CoreV1().Nodes().Get(t.Context(), "mirror", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("get the node: %v, want not found", err)
	}
}

// The node says what the remote nodes are: their accelerators and the features of their
// kubelets. A pod that needs a feature gets there by the scheduler, and runs. A pod that is
// larger than the largest node is rejected: here the only one, so that it is larger than
// all of them together, too. TestAdmitByNode has several.
func TestNodeIsWhatItsNodesAre(t *testing.T) {
	e := shared
	const product, gpu = "nvidia.com/gpu.product", "Test-GPU"
	label := func(value string) {
		e.Kubectl(t, "remote", "label", "nodes", "--all", "--overwrite", product+value)
	}
	label("=" + gpu)
	t.Cleanup(func() { label("-") })
	tenant := e.InstallTenant(t, manifests.Values{Node: "together", ReadNodes: true})
	e.StartAKD(t, "together", "--remote-kubeconfig", tenant.Kubeconfig)
	node, err := e.Local.CoreV1().Nodes().Get(t.Context(), "together", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		product: gpu, "type": "virtual-kubelet", corev1.LabelNodeExcludeBalancers: "true", corev1.LabelArchStable: runtime.GOARCH,
	}
	for key, value := range want {
		if node.Labels[key] != value {
			t.Errorf("label %s is %q, want %q", key, node.Labels[key], value)
		}
	}
	if _, network := nodeutil.GetNodeCondition(&node.Status, corev1.NodeNetworkUnavailable); network == nil ||
		network.Status != corev1.ConditionFalse {
		t.Errorf("condition NetworkUnavailable is %v, want False", network)
	}
	if !slices.Contains(node.Status.DeclaredFeatures, restartallcontainers.RestartAllContainersOnContainerExits) {
		t.Errorf("the node declares %q", node.Status.DeclaredFeatures)
	}

	namespace := e.Namespace(t, "together")
	e.Apply(t, namespace, `
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  nodeSelector: {kubernetes.io/hostname: together, `+product+`: `+gpu+`}
  tolerations: [{operator: Exists}]
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, 'test -e /seen/it && exec sleep 3600; touch /seen/it; exit 42']
    restartPolicy: Never
    restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]
    volumeMounts: [{name: seen, mountPath: /seen}]
  - name: beside
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sleep, "3600"]
  volumes: [{name: seen, emptyDir: {}}]
`)
	env.Eventually(t, "all containers are started again", func(ctx context.Context) error {
		pod, err := e.Local.CoreV1().Pods(namespace).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, container := range pod.Status.ContainerStatuses {
			if container.RestartCount == 0 || container.State.Running == nil {
				return fmt.Errorf("container %s has restarted %d times: %v", container.Name, container.RestartCount, container.State)
			}
		}
		if len(pod.Status.ContainerStatuses) != 2 {
			return fmt.Errorf("pod is %s: %v", pod.Status.Phase, pod.Status.Conditions)
		}
		return nil
	})

	nodes, err := e.Remote.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	largest := resource.Quantity{}
	for i := range nodes.Items {
		if cpus := nodes.Items[i].Status.Allocatable.Cpu(); cpus.Cmp(largest) > 0 {
			largest = *cpus
		}
	}
	largest.Add(resource.MustParse("1m"))
	e.Apply(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: large}
spec:
  nodeName: together
  containers: [{name: main, image: "busybox:1.36", resources: {requests: {cpu: %s}}}]
`, largest.String()))
	env.Eventually(t, "the pod is too large", func(ctx context.Context) error {
		pod, err := e.Local.CoreV1().Pods(namespace).Get(ctx, "large", metav1.GetOptions{})
		if err == nil && pod.Status.Reason != "OutOfcpu" {
			err = fmt.Errorf("it is %s: %s %s", pod.Status.Phase, pod.Status.Reason, pod.Status.Message)
		}
		return err
	})
}
