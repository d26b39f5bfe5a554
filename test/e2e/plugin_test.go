//go:build e2e

package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// With access to the local cluster alone, the plugin shows where the pods of a
// Deployment run, and the health of the node.
func TestPlugin(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "plugin")
	e.Apply(t, namespace, env.Web(env.ExampleNode, 2))
	e.WaitRollout(t, namespace, "deployment/web")
	remote := contract.RemoteNamespace(env.ExampleNode, namespace)

	out, stderr, code := e.Actual(t, "where", "deploy/web", "-n", namespace)
	if rows := strings.Count(out, remote); rows != 2 || strings.Count(out, "remote-1") != 2 || code != 0 {
		t.Errorf("where deploy/web: exit code %d\n%s%s", code, out, stderr)
	}
	pod := e.Pods(t, namespace)[0]
	out, stderr, code = e.Actual(t, "where", pod.Name, "-n", namespace, "--remote-context=remote", "-o", "json")
	var found struct {
		Items []struct{ RemotePhase, RemoteNode, LastEvent string }
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil || code != 0 || len(found.Items) != 1 {
		t.Fatalf("where %s: exit code %d, %v\n%s%s", pod.Name, code, err, out, stderr)
	}
	if item := found.Items[0]; item.RemotePhase != "Running" || item.RemoteNode != "remote-1" || item.LastEvent == "" {
		t.Errorf("in the remote cluster: %+v", item)
	}
	out, stderr, code = e.Actual(t, "where", "--reverse", remote+"/"+pod.Name)
	if !strings.Contains(out, namespace) || code != 0 {
		t.Errorf("where --reverse: exit code %d\n%s%s", code, out, stderr)
	}
	_, stderr, code = e.Actual(t, "where", pod.Name, "--remote-context=lokal")
	if code != 2 || !strings.Contains(stderr, `did you mean "local"?`) {
		t.Errorf("an unknown context: exit code %d\n%s", code, stderr)
	}
	// Nobody has approved akd's certificate: status warns of it, and pods run all the
	// same.
	out, stderr, code = e.Actual(t, "status", env.ExampleNode)
	if code != 0 || !strings.Contains(out, "2/2 running") || !strings.Contains(out, "certificate of its kubelet API is not signed") {
		t.Errorf("status: exit code %d\n%s%s", code, out, stderr)
	}
	if out, stderr, code = e.Actual(t, "version"); code != 0 || !strings.Contains(out, "local Kubernetes") {
		t.Errorf("version: exit code %d\n%s%s", code, out, stderr)
	}
}
