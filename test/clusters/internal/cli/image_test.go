package cli

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// What build-image writes is an image whose files are those of the machine.
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
