package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// File is one file of an image: a copy of Source, a file of this machine, or
// of Content, or a symbolic link to Link.
type File struct {
	Source  string
	Content []byte
	Link    string
	Mode    int64 // 0755 when zero
}

// Spec is an image.
type Spec struct {
	// Base is the image to which this one adds its only layer; nil for none. Its
	// configuration is not inherited.
	Base *Spec
	// Files by absolute path; their folders are made as needed.
	Files map[string]File
	// Folders are further ones, mode 01777: a container's user may write there.
	Folders    []string
	Entrypoint []string
	Cmd        []string
	Env        []string
	// User is a user or user:group, by name or number; root when empty.
	User string
	// Tags are the names of the image, with registry.
	Tags []string
}

// Archive writes images as one docker-archive, for `clusters load-image` and
// `ctr images import`. The same specs and files make images with the same
// identifiers.
func Archive(file string, specs ...Spec) error {
	tagged := map[name.Tag]v1.Image{}
	for _, spec := range specs {
		image, err := spec.image()
		if err != nil {
			return err
		}
		if len(spec.Tags) == 0 {
			return fmt.Errorf("make an image of %v: it has no tag", slices.Sorted(maps.Keys(spec.Files)))
		}
		for _, tag := range spec.Tags {
			parsed, err := name.NewTag(tag, name.StrictValidation)
			if err != nil {
				return fmt.Errorf("name an image: %w", err)
			}
			tagged[parsed] = image
		}
	}
	if err := tarball.MultiWriteToFile(file, tagged); err != nil {
		return fmt.Errorf("write an image archive: %w", err)
	}
	return nil
}

func (s Spec) image() (v1.Image, error) {
	layers, err := s.layers(func(content []byte) (v1.Layer, error) {
		// Not compressed: a node of this machine unpacks it at once.
		return static.NewLayer(content, types.DockerUncompressedLayer), nil
	})
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, fmt.Errorf("make image %v: %w", s.Tags, err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("make image %v: %w", s.Tags, err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = s.config()
	return mutate.ConfigFile(image, config)
}

func (s Spec) config() v1.Config {
	return v1.Config{
		Entrypoint: s.Entrypoint,
		Cmd:        s.Cmd,
		User:       s.User,
		WorkingDir: "/",
		Env:        append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, s.Env...),
	}
}

func (s Spec) layers(layer func([]byte) (v1.Layer, error)) ([]v1.Layer, error) {
	var below []v1.Layer
	if s.Base != nil {
		var err error
		if below, err = s.Base.layers(layer); err != nil {
			return nil, err
		}
	}
	content, err := s.tar()
	if err != nil {
		return nil, err
	}
	top, err := layer(content)
	if err != nil {
		return nil, fmt.Errorf("make layer of image: %w", err)
	}
	return append(below, top), nil
}

// tar is the archive of the files, with constant times and owners.
func (s Spec) tar() ([]byte, error) {
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
	if file.Source == "" {
		header.Size = int64(len(file.Content))
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err := archive.Write(file.Content)
		return err
	}
	content, err := os.Open(file.Source)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	info, err := content.Stat()
	if err != nil {
		return err
	}
	header.Size = info.Size()
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, content)
	return err
}
