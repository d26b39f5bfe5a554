package cli

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// build-image writes an image with files of the machine.
func TestBuildImage(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"program": "#!", "crds/a.yaml": "a", "crds/more/b.yaml": "b"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(dir, "image.tar")
	a := &app{progress: &progress{out: &bytes.Buffer{}, now: time.Now, began: time.Now()}}
	root := a.root()
	root.SetArgs([]string{
		"build-image", archive, "--tag", "docker.io/library/x:1", "--entrypoint", "program", "--user", "65532",
		"--add", filepath.Join(dir, "program") + ":/bin/program", "--add", filepath.Join(dir, "crds") + ":/crds",
	})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Config.Entrypoint; len(got) != 1 || got[0] != "program" || config.Config.User != "65532" {
		t.Errorf("it runs %v as %q", got, config.Config.User)
	}
	for path, want := range map[string]string{"bin/program": "#!", "crds/a.yaml": "a", "crds/more/b.yaml": "b"} {
		if got := inImage(t, image, path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
}

// With platforms it writes one archive with an image for each, from its files.
func TestBuildImageForPlatforms(t *testing.T) {
	dir := t.TempDir()
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		if err := os.MkdirAll(filepath.Join(dir, platform), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, platform, "akd"), []byte("of "+platform), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(dir, "image.tar")
	a := &app{progress: &progress{out: &bytes.Buffer{}, now: time.Now, began: time.Now()}}
	root := a.root()
	root.SetArgs([]string{
		"build-image", archive, "--tag", "docker.io/library/x:1", "--platform", "linux/amd64,linux/arm64",
		"--add", filepath.Join(dir, "{platform}", "akd") + ":/akd", "--entrypoint", "/akd", "--label", "a=b",
	})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	for platform, image := range layoutOf(t, archive) {
		if got := inImage(t, image, "akd"); got != "of "+platform {
			t.Errorf("the image for %s holds the file %s", platform, got)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Config.Labels["a"]; got != "b" {
			t.Errorf("the image for %s has the label a=%s", platform, got)
		}
	}
}

// layoutOf returns the images of an OCI layout by platform.
func layoutOf(t *testing.T, archive string) map[string]v1.Image {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "tar", "-xf", archive, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("unpack: %v\n%s", err, out)
	}
	all, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	indexes, err := partial.FindIndexes(all, match.MediaTypes(string(types.OCIImageIndex)))
	if err != nil || len(indexes) != 1 {
		t.Fatalf("%d indexes: %v", len(indexes), err)
	}
	found := map[string]v1.Image{}
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		parsed, err := v1.ParsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		images, err := partial.FindImages(indexes[0], match.Platforms(*parsed))
		if err != nil || len(images) != 1 {
			t.Fatalf("%d images for %s: %v", len(images), platform, err)
		}
		found[platform] = images[0]
	}
	return found
}

func inImage(t *testing.T, image v1.Image, path string) string {
	t.Helper()
	content := mutate.Extract(image)
	defer func() { _ = content.Close() }()
	files := tar.NewReader(content)
	for {
		header, err := files.Next()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if header.Name == path {
			found, err := io.ReadAll(files)
			if err != nil {
				t.Fatal(err)
			}
			return string(found)
		}
	}
}
