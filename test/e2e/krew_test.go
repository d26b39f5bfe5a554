//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// The plugin from the released archive, installed by krew, installs and
// uninstalls a node; both clusters then have the same objects as before.
func TestKrew(t *testing.T) {
	env.SkipUnlessSlow(t)
	e := shared
	image, release, home := e.AKDImage(t), t.TempDir(), t.TempDir()
	build := exec.CommandContext(t.Context(), "make", "-C", e.Root, "release")
	build.Env = append(os.Environ(), "VERSION=v0.0.1", "PLATFORMS="+runtime.GOOS+"/"+runtime.GOARCH, "OUT="+release)
	env.Run(t, build)
	archive := filepath.Join(release, fmt.Sprintf("kubectl-actual_v0.0.1_%s_%s.tar.gz", runtime.GOOS, runtime.GOARCH))
	environment := append(os.Environ(), "KREW_ROOT="+home, "KREW_NO_UPGRADE_CHECK=1",
		"PATH="+filepath.Join(home, "bin")+":"+os.Getenv("PATH"))
	krew := exec.CommandContext(t.Context(), env.BuildTool(t, "krew", "krew"),
		"install", "--manifest="+filepath.Join(release, "actual.yaml"), "--archive="+archive)
	krew.Env = environment
	env.Run(t, krew)

	actual := func(args ...string) string {
		t.Helper()
		args = append(append([]string{"actual"}, args...), "--kubeconfig", e.UserKubeconfig(), "--context=local")
		cmd := e.KubectlCommand(t.Context(), "local", args...)
		cmd.Env = environment
		var progress bytes.Buffer
		cmd.Stderr = &progress
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("kubectl %v: %v\n%s%s", args, err, out, progress.String())
		}
		return string(out)
	}
	if got := actual("version", "--client"); !strings.Contains(got, "v0.0.1") {
		t.Errorf("kubectl actual version: %s", got)
	}
	before := takeSnapshot(t, e)
	install := []string{"install", "krewed", "--remote-context=remote", "--image=" + image}
	actual(install...) // until the node is Ready and a pod has run
	if got := actual(install...); !strings.Contains(got, " 0 created, 0 changed,") {
		t.Errorf("install again: %s", got)
	}
	actual("uninstall", "krewed", "--remote-context=remote")
	before.compare(t, e, "uninstall")
}

// Others can build the same release, byte for byte: whoever has read the commit
// need not trust the machine that built it.
func TestReproducible(t *testing.T) {
	env.SkipUnlessSlow(t)
	env.Run(t, exec.CommandContext(t.Context(), "make", "-C", shared.Root, "reproducible"))
}
