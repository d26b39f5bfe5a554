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
