//go:build e2e

package env

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// WriterImage is the image of the command writer, which must be the only writer of a
// volume.
const WriterImage = "docker.io/actual-kubelets/writer:e2e"

// LoadWriter builds the writer, which must find a second one, and loads its image onto the
// remote nodes.
func (e *Env) LoadWriter(t testing.TB) {
	t.Helper()
	program, dir := filepath.Join(t.TempDir(), "writer"), t.TempDir()
	source := filepath.Join(e.Root, "test", "e2e", "writer")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags=e2e", "-o", program, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	Run(t, build)
	Start(t, exec.CommandContext(t.Context(), program, dir))
	Eventually(t, "the first writer has the lock", func(context.Context) error {
		_, err := os.Stat(filepath.Join(dir, "log"))
		return err
	})
	if err := exec.CommandContext(t.Context(), program, dir).Run(); ExitCode(err) != 1 {
		t.Fatalf("a second writer ended with %v: the probe finds nothing", err)
	}
	e.LoadImage(t, e.BuildImage(t, WriterImage, "--add", program+":/writer", "--entrypoint", "/writer,/data"), "--cluster", "remote")
}
