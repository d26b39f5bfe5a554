//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// akdImage builds akd's image of the tree as it is, and gives it to all nodes.
func (b *bed) akdImage(t *testing.T) string {
	t.Helper()
	const image = "docker.io/actual-kubelets/akd:e2e"
	dir := t.TempDir()
	akd, archive := filepath.Join(dir, "akd"), filepath.Join(dir, "akd.tar")
	build(t, "go", "build", "-o", akd, "../../cmd/akd")
	build(t, b.clusters, "build-image", archive, "--tag", image, "--add", akd+":/akd", "--entrypoint", "/akd", "--user", "65532:65532")
	build(t, b.clusters, "--dir", b.dir, "load-image", archive)
	return image
}

func build(t *testing.T, command ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
}

// TestInstall: what install applies is enough for a pod to run, applying it
// again changes nothing, and uninstall leaves nothing behind.
func TestInstall(t *testing.T) {
	program := filepath.Join(t.TempDir(), "kubectl-actual")
	build(t, "go", "build", "-o", program, "../../cmd/kubectl-actual")
	image := shared.akdImage(t)
	actual := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, append(args, "--context=local", "--remote-context=remote")...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(shared.dir, "kubeconfig"))
		var progress strings.Builder
		cmd.Stderr = &progress
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("kubectl actual %v: %v\n%s%s", args, err, out, progress.String())
		}
		return string(out)
	}
	for _, side := range []string{"local", "remote"} {
		t.Run(side, func(t *testing.T) {
			node := "install-" + side
			install := []string{"install", node, "--image=" + image, "--run-in=" + side}
			actual(install...) // waits until a probe pod has run
			if got := actual(install...); !strings.Contains(got, " 0 created, 0 changed,") {
				t.Errorf("install again: %s", got)
			}
			actual("uninstall", node)
			if _, err := shared.local.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("get node after uninstall: %v, want not found", err)
			}
			left, err := shared.remote.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{LabelSelector: "actual.vk/node-name=" + node})
			if err != nil || len(left.Items) > 0 {
				t.Errorf("remote namespaces after uninstall: %d, %v", len(left.Items), err)
			}
		})
	}
}
