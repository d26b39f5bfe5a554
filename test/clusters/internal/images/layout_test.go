package images

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// akd is an index as `make image` makes it.
func akd(t *testing.T) Index {
	t.Helper()
	program := filepath.Join(t.TempDir(), "akd")
	writeFile(t, program, "elf of arm64")
	return Index{
		Tag: "ghcr.io/actual-kubelets/akd:v1.2.3",
		Images: map[string]Spec{
			"linux/arm64": {Files: map[string]File{"/akd": {Source: program}}, Entrypoint: []string{"/akd"}, User: "65532:65532"},
			"linux/amd64": {Files: map[string]File{"/akd": {Content: []byte("elf of amd64")}}, Entrypoint: []string{"/akd"}, User: "65532:65532"},
		},
		Labels: map[string]string{"org.opencontainers.image.version": "v1.2.3", "org.opencontainers.image.licenses": "Apache-2.0"},
	}
}

func TestLayout(t *testing.T) {
	want := akd(t)
	archive := filepath.Join(t.TempDir(), "akd.tar")
	if err := Layout(archive, want); err != nil {
		t.Fatal(err)
	}
	entry, index := open(t, archive)
	names := map[string]string{
		"io.containerd.image.name":          "ghcr.io/actual-kubelets/akd:v1.2.3", // containerd's name for it
		"org.opencontainers.image.ref.name": "v1.2.3",                             // skopeo's
	}
	if diff := cmp.Diff(names, entry.Annotations); diff != "" {
		t.Errorf("names: -want, +got:\n%s", diff)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if manifest.MediaType != types.OCIImageIndex {
		t.Errorf("the index is a %s", manifest.MediaType)
	}
	if diff := cmp.Diff(want.Labels, manifest.Annotations); diff != "" {
		t.Errorf("the index's annotations: -want, +got:\n%s", diff)
	}
	var platforms []string
	for _, descriptor := range manifest.Manifests {
		platforms = append(platforms, descriptor.Platform.String())
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, want, *descriptor.Platform, image)
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, platforms); diff != "" {
		t.Errorf("platforms: -want, +got:\n%s", diff)
	}
}

// checkImage checks the image that a container runtime of that platform gets.
func checkImage(t *testing.T, index Index, platform v1.Platform, image v1.Image) {
	t.Helper()
	files := []map[string]entry{{"akd": {"file", 0o755, "elf of " + platform.Architecture}}}
	if diff := cmp.Diff(files, contents(t, image)); diff != "" {
		t.Errorf("%s: files: -want, +got:\n%s", &platform, diff)
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		Entrypoint: []string{"/akd"},
		User:       "65532:65532",
		WorkingDir: "/",
		Labels:     index.Labels,
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
	if diff := cmp.Diff(want, file.Config); diff != "" {
		t.Errorf("%s: config: -want, +got:\n%s", &platform, diff)
	}
	if !file.Platform().Equals(platform) {
		t.Errorf("the image for %s says that it is for %s", &platform, file.Platform())
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(index.Labels, manifest.Annotations); diff != "" {
		t.Errorf("%s: annotations: -want, +got:\n%s", &platform, diff)
	}
	got := []types.MediaType{manifest.MediaType, manifest.Config.MediaType, manifest.Layers[0].MediaType}
	if diff := cmp.Diff([]types.MediaType{types.OCIManifestSchema1, types.OCIConfigJSON, types.OCILayer}, got); diff != "" {
		t.Errorf("%s: media types: -want, +got:\n%s", &platform, diff)
	}
}

// The same commit makes the same bytes, whenever and wherever it is built.
func TestLayoutIsReproducible(t *testing.T) {
	sums := map[[sha256.Size]byte]bool{}
	for range 2 {
		index := akd(t) // its files are in another folder each time, and newer
		archive := filepath.Join(t.TempDir(), "akd.tar")
		if err := Layout(archive, index); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(archive)
		if err != nil {
			t.Fatal(err)
		}
		sums[sha256.Sum256(content)] = true
		if source := index.Images["linux/arm64"].Files["/akd"].Source; bytes.Contains(content, []byte(source)) {
			t.Errorf("the layout names the machine's path %s", source)
		}
	}
	if len(sums) != 1 {
		t.Errorf("two builds gave %d layouts", len(sums))
	}
}

func TestLayoutRefuses(t *testing.T) {
	cases := map[string]struct {
		reason string
		spoil  func(*Index)
		want   string
	}{
		"NoTag":       {"an image without a name is lost", func(i *Index) { i.Tag = "" }, "name an image"},
		"BadPlatform": {"nothing runs there", func(i *Index) { i.Images["a/b/c/d"] = Spec{} }, "a/b/c/d"},
		"NoFile": {"a file that is not there", func(i *Index) {
			i.Images["linux/arm64"] = Spec{Files: map[string]File{"/akd": {Source: "/nonexistent"}}}
		}, "/nonexistent"},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			index, archive := akd(t), filepath.Join(t.TempDir(), "akd.tar")
			tc.spoil(&index)
			if err := Layout(archive, index); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want an error with %q", tc.reason, err, tc.want)
			}
			if _, err := os.Stat(archive); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: it left an archive: %v", tc.reason, err)
			}
		})
	}
}

// open unpacks a layout, checks all digests, and returns its only entry.
func open(t *testing.T, archive string) (v1.Descriptor, v1.ImageIndex) {
	t.Helper()
	dir := t.TempDir()
	unpack(t, archive, dir)
	all, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := all.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 {
		t.Fatalf("the layout has %d entries, want 1", len(manifest.Manifests))
	}
	index, err := all.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	return manifest.Manifests[0], index
}

func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	content, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = content.Close() }()
	files := tar.NewReader(content)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.Equal(time.Unix(0, 0)) || header.Uid != 0 || header.Uname != "" {
			t.Errorf("%s: it has the time %s and the owner %d %q", header.Name, header.ModTime, header.Uid, header.Uname)
		}
		if header.Typeflag == tar.TypeDir {
			if err := root.MkdirAll(header.Name, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		file, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if err := root.WriteFile(header.Name, file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
