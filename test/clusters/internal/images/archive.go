package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// File is one file of an image: from a file of this machine, or of Content,
// or a symbolic link to Link.
type File struct {
	Source  string
	Content []byte
	Link    string
	Mode    int64 // 0755 when zero
}

// Spec is an image of one layer.
type Spec struct {
	// Files by absolute path; the folders that they need are made.
	Files map[string]File
	// Folders are further ones, mode 01777: a container's user may write there.
	Folders    []string
	Entrypoint []string
	Cmd        []string
	Env        []string
	User       string
	// Tags are the names that the image is known by.
	Tags []string
}

// Archive writes the image as a docker-archive, which `clusters load-image`
// and `ctr images import` take. The same spec and files give the same bytes.
func Archive(spec Spec, file string) error {
	layer, err := spec.layer()
	if err != nil {
		return err
	}
	content, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil })
	if err != nil {
		return fmt.Errorf("make image layer: %w", err)
	}
	image, err := mutate.AppendLayers(empty.Image, content)
	if err != nil {
		return fmt.Errorf("make image: %w", err)
	}
	image, err = mutate.ConfigFile(image, spec.config(image))
	if err != nil {
		return fmt.Errorf("configure image: %w", err)
	}
	tagged := map[name.Tag]v1.Image{}
	for _, tag := range spec.Tags {
		parsed, err := name.NewTag(tag)
		if err != nil {
			return fmt.Errorf("name image: %w", err)
		}
		tagged[parsed] = image
	}
	if err := tarball.MultiWriteToFile(file, tagged); err != nil {
		return fmt.Errorf("write image archive: %w", err)
	}
	return nil
}

func (s Spec) config(image v1.Image) *v1.ConfigFile {
	config, err := image.ConfigFile()
	if err != nil {
		config = &v1.ConfigFile{}
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", goarch()
	config.Config = v1.Config{
		Entrypoint: s.Entrypoint, Cmd: s.Cmd, User: s.User,
		Env: append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, s.Env...),
	}
	return config
}

// layer is a tar of the files, with times and owners that do not vary.
func (s Spec) layer() ([]byte, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	for _, folder := range s.folders() {
		mode := int64(0o755)
		if slices.Contains(s.Folders, folder) {
			mode = 0o1777
		}
		header := &tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(folder, "/") + "/", Mode: mode, ModTime: time.Unix(0, 0)}
		if err := archive.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("add %s to image: %w", folder, err)
		}
	}
	for _, target := range slices.Sorted(maps.Keys(s.Files)) {
		if err := add(archive, target, s.Files[target]); err != nil {
			return nil, fmt.Errorf("add %s to image: %w", target, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("end image layer: %w", err)
	}
	return buffer.Bytes(), nil
}

// folders are all that must exist, parents first.
func (s Spec) folders() []string {
	all := map[string]bool{}
	note := func(folder string) {
		for ; folder != "/" && folder != "."; folder = path.Dir(folder) {
			all[folder] = true
		}
	}
	for _, folder := range s.Folders {
		note(folder)
	}
	for target := range s.Files {
		note(path.Dir(target))
	}
	return slices.Sorted(maps.Keys(all))
}

func add(archive *tar.Writer, target string, file File) error {
	header := &tar.Header{Name: strings.TrimPrefix(target, "/"), Mode: file.Mode, ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
	if header.Mode == 0 {
		header.Mode = 0o755
	}
	if file.Link != "" {
		header.Typeflag, header.Linkname = tar.TypeSymlink, file.Link
		return archive.WriteHeader(header)
	}
	content := file.Content
	if file.Source != "" {
		var err error
		if content, err = os.ReadFile(file.Source); err != nil {
			return err
		}
	}
	header.Size = int64(len(content))
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}
