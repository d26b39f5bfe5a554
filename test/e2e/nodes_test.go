//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// twin is a pod with a ConfigMap and a Secret, under the same names wherever
// it is applied: what it says tells where it belongs.
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

// Two nodes share one remote cluster, and all names are the same on both: no
// pod sees or hears the other, and the end of one is not the other's. Then the
// pod of one node is made anew on the other, under its old name.
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
		tellsOf(t, e, namespace, node)
	}
	kept := e.Pods(t, namespaces["second"])[0]

	e.Kubectl(t, "local", "delete", "pod", "web", "-n", namespaces["first"], "--timeout=3m")
	e.Apply(t, namespaces["first"], twin("second", "moved"))
	e.WaitReady(t, namespaces["first"], "web")
	if log := e.Kubectl(t, "local", "logs", "web", "-n", namespaces["first"]); log != "moved\n" {
		t.Errorf("the pod that moved says %q", log)
	}
	if _, err := e.Remote.CoreV1().Pods(contract.RemoteNamespace("first", namespaces["first"])).Get(t.Context(), "web", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("its remote pod on the first node is not gone: %v", err)
	}
	tellsOf(t, e, namespaces["second"], "second")
	after := e.Pods(t, namespaces["second"])[0]
	if after.UID != kept.UID || after.Annotations[contract.AnnotationRemoteUID] != kept.Annotations[contract.AnnotationRemoteUID] || after.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the other node's pod is not the one that it was")
	}
}

// tellsOf checks that what is seen of the pod web is its own.
func tellsOf(t *testing.T, e *env.Env, namespace, node string) {
	t.Helper()
	if log := e.Kubectl(t, "local", "logs", "web", "-n", namespace); log != node+"\n" {
		t.Errorf("the pod of node %s says %q", node, log)
	}
	want := fmt.Sprintf("%s %s secret of %s", namespace, node, node)
	if out := e.Kubectl(t, "local", "exec", "web", "-n", namespace, "--", "sh", "-c", "echo -n $WHERE $NODE $(cat /password/password)"); out != want {
		t.Errorf("in the pod of node %s: %q, want %q", node, out, want)
	}
}

// Two kubeconfigs that lead to one cluster are refused: each pod would be
// created again and again, for itself.
func TestSameClusterOnBothSides(t *testing.T) {
	e := shared
	content, err := os.ReadFile(filepath.Join(e.Dir, "akd-local.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	another := filepath.Join(t.TempDir(), "kubeconfig") // the same file would be refused before it is read
	if err := os.WriteFile(another, content, 0o600); err != nil {
		t.Fatal(err)
	}
	d := e.LaunchAKD(t, "mirror", "--remote-kubeconfig", another)
	d.WaitExit(t, 2, "lead to the same cluster")
	if _, err := e.Local.CoreV1().Nodes().Get(t.Context(), "mirror", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("it registered a node: %v", err)
	}
}
