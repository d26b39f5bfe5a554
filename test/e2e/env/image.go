//go:build e2e

package env

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// AKDImage makes an image of the akd that make has built, loads it onto all
// nodes, and returns its name.
func (e *Env) AKDImage(t testing.TB) string {
	t.Helper()
	const image = "docker.io/actual-kubelets/akd:e2e"
	archive := e.BuildImage(t, image, "--add", filepath.Join(e.Root, "bin", "akd")+":/akd", "--entrypoint", "/akd", "--user", "65532:65532")
	e.LoadImage(t, archive)
	return image
}

// BuildImage makes an image with the options of `clusters build-image`, and
// returns its archive.
func (e *Env) BuildImage(t testing.TB, tag string, options ...string) (archive string) {
	t.Helper()
	archive = filepath.Join(t.TempDir(), "image.tar")
	args := append([]string{"build-image", archive, "--tag", tag}, options...)
	Run(t, exec.CommandContext(t.Context(), e.clusters, args...))
	return archive
}

// LoadImage loads an image onto all nodes, or with the options of
// `clusters load-image` onto some.
func (e *Env) LoadImage(t testing.TB, archive string, options ...string) {
	t.Helper()
	Run(t, e.commandContext(t.Context(), append([]string{"load-image", archive}, options...)...))
}

// BuildTool builds the one program of a module of tools and returns its file.
// The first build takes minutes; later ones are nearly all in Go's build cache.
func BuildTool(t testing.TB, module, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	buildTools(t, module, file)
	return file
}

// BuildTools is BuildTool for a module of several programs. It returns their folder.
func BuildTools(t testing.TB, module string) string {
	t.Helper()
	dir := t.TempDir()
	buildTools(t, module, dir)
	return dir
}

func buildTools(t testing.TB, module, to string) {
	t.Helper()
	build := exec.CommandContext(t.Context(), "go", "build", "-C", module, "-trimpath", "-o", to, "tool")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	Run(t, build)
}

// ModuleSource returns the version of a dependency of a module of tools, and
// the folder with its source.
func ModuleSource(t testing.TB, module, dependency string) (version, dir string) {
	t.Helper()
	out := Run(t, exec.CommandContext(t.Context(), "go", "list", "-C", module, "-m", "-f", "{{.Version}} {{.Dir}}", dependency))
	version, dir, _ = strings.Cut(strings.TrimSpace(out), " ")
	return version, dir
}
