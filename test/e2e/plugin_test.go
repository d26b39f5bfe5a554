//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// actual runs kubectl actual as a user does, against the local cluster, and
// returns its outputs and exit code.
func (b *bed) actual(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := b.actualCommand(t, append(args, "--kubeconfig", filepath.Join(b.dir, "kubeconfig"), "--context=local")...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	code = exitCode(cmd.Run())
	return out.String(), err.String(), code
}

// actualCommand is not bound to the test's context, which has ended when the
// test cleans up.
func (b *bed) actualCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command(filepath.Join(filepath.Dir(b.clusters), "kubectl-actual"), append(args, "--cache-dir", t.TempDir())...)
}

// The plugin finds a Deployment's pods in the remote cluster, from the local
// one alone, and says how the node does.
func TestPlugin(t *testing.T) {
	b := shared
	b.startAKD(t, exampleNode)
	namespace := b.namespace(t, "plugin")
	b.apply(t, namespace, web(exampleNode, 2))
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=3m")
	remote := translate.RemoteNamespace(exampleNode, namespace)

	out, stderr, code := b.actual(t, "where", "deploy/web", "-n", namespace)
	if rows := strings.Count(out, remote); rows != 2 || strings.Count(out, "remote-1") != 2 || code != 0 {
		t.Errorf("where deploy/web: exit code %d\n%s%s", code, out, stderr)
	}
	pod := b.pods(t, namespace)[0]
	out, stderr, code = b.actual(t, "where", pod.Name, "-n", namespace, "--remote-context=remote", "-o", "json")
	var found struct {
		Items []struct{ RemotePhase, RemoteNode, LastEvent string }
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil || code != 0 || len(found.Items) != 1 {
		t.Fatalf("where %s: exit code %d, %v\n%s%s", pod.Name, code, err, out, stderr)
	}
	if item := found.Items[0]; item.RemotePhase != "Running" || item.RemoteNode != "remote-1" || item.LastEvent == "" {
		t.Errorf("the remote cluster says %+v", item)
	}
	out, stderr, code = b.actual(t, "where", "--reverse", remote+"/"+pod.Name)
	if !strings.Contains(out, namespace) || code != 0 {
		t.Errorf("where --reverse: exit code %d\n%s%s", code, out, stderr)
	}
	if _, stderr, code = b.actual(t, "where", pod.Name, "--remote-context=lokal"); code != 2 || !strings.Contains(stderr, `did you mean "local"?`) {
		t.Errorf("an unknown context: exit code %d\n%s", code, stderr)
	}
	// Nobody has approved akd's certificate: that is worth a word.
	out, stderr, code = b.actual(t, "status", exampleNode)
	if code != 3 || !strings.Contains(out, "2/2 running") || !strings.Contains(out, "certificate of its kubelet API is not signed") {
		t.Errorf("status: exit code %d\n%s%s", code, out, stderr)
	}
	if out, stderr, code = b.actual(t, "version"); code != 0 || !strings.Contains(out, "local Kubernetes") {
		t.Errorf("version: exit code %d\n%s%s", code, out, stderr)
	}
}
