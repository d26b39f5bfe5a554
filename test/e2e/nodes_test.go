//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
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
	b := shared
	b.startAKD(t, "first")
	b.startAKD(t, "second", "--kubelet-api-port", "10251", "--metrics-address", "")
	namespaces := map[string]string{"first": b.namespace(t, "twins-of-first"), "second": b.namespace(t, "twins-of-second")}
	for node, namespace := range namespaces {
		b.apply(t, namespace, twin(node, node))
	}
	for node, namespace := range namespaces {
		b.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/web", "-n", namespace, "--timeout=3m")
		b.tellsOf(t, namespace, node)
	}
	kept := b.pods(t, namespaces["second"])[0]

	b.kubectl(t, "local", "delete", "pod", "web", "-n", namespaces["first"], "--timeout=3m")
	b.apply(t, namespaces["first"], twin("second", "moved"))
	b.kubectl(t, "local", "wait", "--for=condition=Ready", "pod/web", "-n", namespaces["first"], "--timeout=3m")
	if log := b.kubectl(t, "local", "logs", "web", "-n", namespaces["first"]); log != "moved\n" {
		t.Errorf("the pod that moved says %q", log)
	}
	if _, err := b.remote.CoreV1().Pods(translate.RemoteNamespace("first", namespaces["first"])).Get(t.Context(), "web", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("its remote pod on the first node is not gone: %v", err)
	}
	b.tellsOf(t, namespaces["second"], "second")
	after := b.pods(t, namespaces["second"])[0]
	if after.UID != kept.UID || after.Annotations[translate.AnnotationRemoteUID] != kept.Annotations[translate.AnnotationRemoteUID] || after.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the other node's pod is not the one that it was")
	}
}

// tellsOf checks that what is seen of the pod web is its own.
func (b *bed) tellsOf(t *testing.T, namespace, node string) {
	t.Helper()
	if log := b.kubectl(t, "local", "logs", "web", "-n", namespace); log != node+"\n" {
		t.Errorf("the pod of node %s says %q", node, log)
	}
	want := fmt.Sprintf("%s %s secret of %s", namespace, node, node)
	if out := b.kubectl(t, "local", "exec", "web", "-n", namespace, "--", "sh", "-c", "echo -n $WHERE $NODE $(cat /password/password)"); out != want {
		t.Errorf("in the pod of node %s: %q, want %q", node, out, want)
	}
}

// Two kubeconfigs that lead to one cluster are refused: each pod would be
// created again and again, for itself.
func TestSameClusterOnBothSides(t *testing.T) {
	b := shared
	content, err := os.ReadFile(filepath.Join(b.dir, "akd-local.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	another := filepath.Join(t.TempDir(), "kubeconfig") // the same file would be refused before it is read
	if err := os.WriteFile(another, content, 0o600); err != nil {
		t.Fatal(err)
	}
	d := b.launch(t, "mirror", "--remote-kubeconfig", another)
	d.ends(t, 2, "lead to the same cluster")
	if _, err := b.local.CoreV1().Nodes().Get(t.Context(), "mirror", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("it registered a node: %v", err)
	}
}

// ends waits until akd has ended by itself, with that exit code and a log that
// says why.
func (d *daemon) ends(t *testing.T, code int, why string) {
	t.Helper()
	exited := d.exited
	eventually(t, "akd ends", func(context.Context) error {
		select {
		case err := <-exited:
			exited <- err // for stop
			if got := exitCode(err); got != code {
				t.Errorf("it ended with %d, want %d", got, code)
			}
			return nil
		default:
			return errors.New("it still runs")
		}
	})
	if log := tail(d.log); !strings.Contains(log, why) {
		t.Errorf("it does not say %q:\n%s", why, log)
	}
}
