package images

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// entry is one file of an image in a test.
type entry struct {
	Type    string
	Mode    int64
	Content string
}

func TestArchive(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	writeFile(t, program, "elf")
	base := Spec{Files: map[string]File{"/bin/sh": {Content: []byte("sh")}}, Folders: []string{"/tmp"}}
	config := v1.Config{WorkingDir: "/", Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}

	cases := map[string]struct {
		reason string
		spec   Spec
		files  []map[string]entry
		config func(*v1.Config)
	}{
		"Files": {
			reason: "copies, contents and links get the folders that they need, and nothing else",
			spec: Spec{Tags: []string{"example.org/a:1"}, Files: map[string]File{
				"/usr/bin/program": {Source: program},
				"/etc/passwd":      {Content: []byte("root"), Mode: 0o644},
				"/program":         {Link: "/usr/bin/program"},
			}},
			files: []map[string]entry{{
				"usr/":            {"dir", 0o755, ""},
				"usr/bin/":        {"dir", 0o755, ""},
				"usr/bin/program": {"file", 0o755, "elf"},
				"etc/":            {"dir", 0o755, ""},
				"etc/passwd":      {"file", 0o644, "root"},
				"program":         {"link", 0o755, "/usr/bin/program"},
			}},
		},
		"Base": {
			reason: "the files of the base stay a layer of their own, which images share; its configuration is not inherited",
			spec:   Spec{Tags: []string{"example.org/a:1"}, Base: &base, Files: map[string]File{"/a": {Content: []byte("a")}}},
			files: []map[string]entry{
				{"bin/": {"dir", 0o755, ""}, "bin/sh": {"file", 0o755, "sh"}, "tmp/": {"dir", 0o1777, ""}},
				{"a": {"file", 0o755, "a"}},
			},
		},
		"Config": {
			reason: "the container runtime reads the values of the spec",
			spec: Spec{
				Tags:       []string{"example.org/a:1"},
				Entrypoint: []string{"/a"},
				Cmd:        []string{"b"},
				Env:        []string{"C=d"},
				User:       "1:2",
				Files:      map[string]File{"/a": {Content: []byte("a")}},
			},
			files: []map[string]entry{{"a": {"file", 0o755, "a"}}},
			config: func(c *v1.Config) {
				c.Entrypoint, c.Cmd, c.Env, c.User = []string{"/a"}, []string{"b"}, append(c.Env, "C=d"), "1:2"
			},
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), "image.tar")
			if err := Archive(archive, tc.spec); err != nil {
				t.Fatal(err)
			}
			image := load(t, archive, "example.org/a:1")
			if diff := cmp.Diff(tc.files, contents(t, image)); diff != "" {
				t.Errorf("%s\nfiles: -want, +got:\n%s", tc.reason, diff)
			}
			want := *config.DeepCopy()
			if tc.config != nil {
				tc.config(&want)
			}
			got, err := image.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Config); diff != "" {
				t.Errorf("%s\nconfig: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// Several images in one archive share layers and keep their names apart.
func TestArchiveOfSeveral(t *testing.T) {
	base := Spec{
		Files: map[string]File{"/bin/sh": {Content: []byte("sh")}},
		Tags:  []string{"docker.io/library/sh:1", "docker.io/library/sh:latest"},
	}
	other := Spec{Base: &base, Files: map[string]File{"/a": {Content: []byte("a")}}, Tags: []string{"example.org/a:1"}}
	archive := filepath.Join(t.TempDir(), "images.tar")
	if err := Archive(archive, base, other); err != nil {
		t.Fatal(err)
	}
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(archive) })
	if err != nil {
		t.Fatal(err)
	}
	tags, layers := map[string]int{}, map[string]bool{}
	for _, image := range manifest {
		for _, tag := range image.RepoTags {
			tags[tag] = len(image.Layers)
		}
		for _, layer := range image.Layers {
			layers[layer] = true
		}
	}
	want := map[string]int{"docker.io/library/sh:1": 1, "docker.io/library/sh:latest": 1, "example.org/a:1": 2}
	if diff := cmp.Diff(want, tags); diff != "" {
		t.Errorf("number of layers by tag: -want, +got:\n%s", diff)
	}
	if len(layers) != 2 {
		t.Errorf("got %d different layers, want 2: images share their base", len(layers))
	}
	first, again := load(t, archive, "example.org/a:1"), filepath.Join(t.TempDir(), "again.tar")
	if err := Archive(again, base, other); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(identifier(t, first), identifier(t, load(t, again, "example.org/a:1"))); diff != "" {
		t.Errorf("identifiers of the same image: -first, +second:\n%s", diff)
	}
}

func TestArchiveRefuses(t *testing.T) {
	files := map[string]File{"/a": {Content: []byte("a")}}
	cases := map[string]struct {
		reason string
		spec   Spec
		want   error
	}{
		"NoTag":      {reason: "an image without a name is lost", spec: Spec{Files: files}},
		"BadTag":     {reason: "a name that no container runtime takes", spec: Spec{Files: files, Tags: []string{"A B"}}},
		"NoRegistry": {reason: "a short name means different images to different runtimes", spec: Spec{Files: files, Tags: []string{"busybox"}}},
		"NoFile": {
			reason: "a file that is not there",
			spec:   Spec{Files: map[string]File{"/a": {Source: "/nonexistent"}}, Tags: []string{"example.org/a:1"}},
			want:   fs.ErrNotExist,
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			err := Archive(filepath.Join(t.TempDir(), "image.tar"), tc.spec)
			if err == nil {
				t.Fatalf("%s: got no error", tc.reason)
			}
			if tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("%s: got %v, want %v", tc.reason, err, tc.want)
			}
		})
	}
}

func TestReadTestNames(t *testing.T) {
	const manifest = `
	configs[AgnhostPrev] = Config{list.PromoterE2eRegistry, "agnhost", "2.55"}
	configs[Agnhost] = Config{list.PromoterE2eRegistry, "agnhost", "2.66.1"}
	configs[AgnhostPrivate] = Config{list.PrivateRegistry, "agnhost", "2.6"}
	configs[BusyBox] = Config{list.PromoterE2eRegistry, "busybox", "1.37.0-2"}
	configs[Kitten] = Config{list.PromoterE2eRegistry, "kitten", "1.8"}
	configs[Nautilus] = Config{list.PromoterE2eRegistry, "nautilus", "1.8"}
	configs[Nginx] = Config{list.PromoterE2eRegistry, "nginx", "1.27.0-2"}
	configs[Nonewprivs] = Config{list.PromoterE2eRegistry, "nonewprivs", "1.4"}
	configs[NonRoot] = Config{list.PromoterE2eRegistry, "nonroot", "1.5"}
	// Pause - when these values are updated, also update others
	configs[Pause] = Config{list.GcRegistry, "pause", "3.10.2"}
`
	file := filepath.Join(t.TempDir(), "manifest.go")
	writeFile(t, file, manifest)
	got, err := readTestNames(file)
	if err != nil {
		t.Fatal(err)
	}
	want := testNames{
		"AgnhostPrev": "registry.k8s.io/e2e-test-images/agnhost:2.55",
		"Agnhost":     "registry.k8s.io/e2e-test-images/agnhost:2.66.1",
		"BusyBox":     "registry.k8s.io/e2e-test-images/busybox:1.37.0-2",
		"Kitten":      "registry.k8s.io/e2e-test-images/kitten:1.8",
		"Nautilus":    "registry.k8s.io/e2e-test-images/nautilus:1.8",
		"Nginx":       "registry.k8s.io/e2e-test-images/nginx:1.27.0-2",
		"Nonewprivs":  "registry.k8s.io/e2e-test-images/nonewprivs:1.4",
		"NonRoot":     "registry.k8s.io/e2e-test-images/nonroot:1.5",
		"Pause":       "registry.k8s.io/pause:3.10.2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	// Our name for pause may be the tests' too.
	if diff := cmp.Diff([]string{PauseName}, got.with([]string{"Pause", "Absent"}, PauseName)); diff != "" {
		t.Errorf("names of pause: -want, +got:\n%s", diff)
	}
	writeFile(t, file, `configs[Agnhost] = Config{list.PromoterE2eRegistry, "agnhost", "2.66.1"}`)
	if _, err := readTestNames(file); err == nil {
		t.Error("a list without busybox: got no error, although Kubernetes must have changed its form")
	}
}

// The cache must not serve an image that was made of other files.
func TestHash(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	writeFile(t, program, "elf")
	spec := func() Spec {
		return Spec{
			Base:  &Spec{Files: map[string]File{"/b": {Content: []byte("b")}}},
			Files: map[string]File{"/a": {Source: program}, "/c": {Content: []byte("c")}},
			Tags:  []string{"example.org/a:1"},
		}
	}
	before := hashed(t, spec())
	if diff := cmp.Diff(before, hashed(t, spec())); diff != "" {
		t.Errorf("the same image: -first, +second:\n%s", diff)
	}
	changes := map[string]func(*Spec){
		"Tag":     func(s *Spec) { s.Tags[0] = "example.org/a:2" },
		"User":    func(s *Spec) { s.User = "1" },
		"Content": func(s *Spec) { s.Files["/c"] = File{Content: []byte("d")} },
		"Mode":    func(s *Spec) { s.Files["/c"] = File{Content: []byte("c"), Mode: 0o600} },
		"Base":    func(s *Spec) { s.Base.Files["/b"] = File{Content: []byte("c")} },
		"Source":  func(*Spec) { writeFile(t, program, "another") },
	}
	for _, title := range slices.Sorted(maps.Keys(changes)) {
		changed := spec()
		changes[title](&changed)
		if hashed(t, changed) == before {
			t.Errorf("%s: got the same hash", title)
		}
	}
}

// An interrupted write leaves a file that is never taken for an archive.
func TestWriteAfterInterruption(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.tar")
	writeFile(t, file+".work", "half")
	spec := Spec{Files: map[string]File{"/a": {Content: []byte("a")}}, Tags: []string{"example.org/a:1"}}
	if err := write(t.Context(), file, []Spec{spec}); err != nil {
		t.Fatal(err)
	}
	load(t, file, "example.org/a:1")
	if _, err := os.Stat(file + ".work"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the interrupted file: got %v, want %v", err, fs.ErrNotExist)
	}
}

func writeFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func hashed(t *testing.T, spec Spec) string {
	t.Helper()
	sum, err := hash([]Spec{spec})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func load(t *testing.T, archive, tag string) v1.Image {
	t.Helper()
	parsed, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(archive, &parsed)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func identifier(t *testing.T, image v1.Image) string {
	t.Helper()
	hash, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

// contents are the files of each layer by name.
func contents(t *testing.T, image v1.Image) []map[string]entry {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]entry
	for _, layer := range layers {
		reader, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entries(t, tar.NewReader(reader)))
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func entries(t *testing.T, reader *tar.Reader) map[string]entry {
	t.Helper()
	found := map[string]entry{}
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		found[header.Name] = entry{kindOf(header.Typeflag), header.Mode, string(content) + header.Linkname}
	}
}

func kindOf(flag byte) string {
	switch flag {
	case tar.TypeDir:
		return "dir"
	case tar.TypeReg:
		return "file"
	case tar.TypeSymlink:
		return "link"
	}
	return ""
}
