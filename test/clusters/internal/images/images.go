package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/build"
)

// Programs are the files that package build returns, by name.
type Programs map[string]string

// Set is the images of every node.
type Set struct {
	// Archives are docker-archive files.
	Archives []string
	// Tags are the names of all images in them.
	Tags []string
}

// Ensure makes the images of these programs in the cache, or finds them there.
// All are in one archive, because each import has the same fixed cost.
func Ensure(ctx context.Context, cache string, programs Programs) (Set, error) {
	specs, err := nodeImages(ctx, programs)
	if err != nil {
		return Set{}, err
	}
	folder := filepath.Join(cache, "images")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return Set{}, fmt.Errorf("make the cache folder for images: %w", err)
	}
	key, err := hash(specs)
	if err != nil {
		return Set{}, err
	}
	file := filepath.Join(folder, "node-"+key+".tar")
	if _, err := os.Stat(file); err != nil {
		if err := write(ctx, file, specs); err != nil {
			return Set{}, err
		}
	}
	set := Set{Archives: []string{file}}
	for _, spec := range specs {
		set.Tags = append(set.Tags, spec.Tags...)
	}
	return set, nil
}

// nodeImages are those of the clusters' own pods and of the tests' pods.
func nodeImages(ctx context.Context, programs Programs) ([]Spec, error) {
	names, err := readTestNames(programs[build.ImageNames])
	if err != nil {
		return nil, err
	}
	busybox, err := shell(ctx)
	if err != nil {
		return nil, err
	}
	testing, err := agnhost(ctx, &busybox, programs)
	if err != nil {
		return nil, err
	}
	testing.Tags = names.with([]string{"Agnhost", "AgnhostPrev"}, AgnhostName, "docker.io/library/agnhost:latest")
	nonRoot := Spec{Base: &busybox, Cmd: []string{"sh"}, User: "1234", Tags: names.with([]string{"NonRoot"})}
	shell := busybox
	shell.Tags = names.with([]string{"BusyBox"}, BusyboxName, "docker.io/library/busybox:latest")
	glibc, err := glibc(ctx, &busybox, names)
	if err != nil {
		return nil, err
	}
	return []Spec{
		{
			Files: map[string]File{"/pause": {Source: programs["pause"]}}, Entrypoint: []string{"/pause"}, User: "65535:65535",
			Tags: names.with([]string{"Pause"}, PauseName),
		},
		{
			Files: map[string]File{"/coredns": {Source: programs["coredns"]}}, Entrypoint: []string{"/coredns"},
			Tags: []string{CoreDNSName},
		},
		{
			Base: &busybox, Files: map[string]File{"/bin/kubectl": {Source: programs["kubectl"]}}, Entrypoint: []string{"kubectl"},
			Tags: []string{KubectlName},
		},
		shell, glibc, nonRoot, testing, nginx(&busybox, names),
		webserver(&testing, "kitten", names.with([]string{"Kitten"})),
		webserver(&testing, "nautilus", names.with([]string{"Nautilus"})),
		{
			Base: &busybox, Files: map[string]File{"/usr/local/bin/nnp": {Source: programs["nnp"], Mode: 0o4755}}, Cmd: []string{"nnp"},
			Tags: names.with([]string{"Nonewprivs"}),
		},
	}, nil
}

// write writes the archive under another name first, so that nobody reads an
// incomplete one, and removes those of interrupted writes.
func write(ctx context.Context, file string, specs []Spec) error {
	unlock, err := build.Lock(ctx, file+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(file); err == nil {
		return nil // by another caller, while we waited
	}
	work := file + ".work"
	defer func() { _ = os.Remove(work) }()
	if err := Archive(work, specs...); err != nil {
		return err
	}
	if err := os.Rename(work, file); err != nil {
		return fmt.Errorf("keep an image archive: %w", err)
	}
	return nil
}

// hash is over the content of the images, but for files of this machine over
// path, size and time: reading them takes as long as writing the archive.
func hash(specs []Spec) (string, error) {
	sum := sha256.New()
	for _, spec := range specs {
		if err := spec.describe(sum); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:4]), nil
}

func (s Spec) describe(out io.Writer) error {
	if s.Base != nil {
		if err := s.Base.describe(out); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(out, "%q %q %q %q %q %q\n", s.Folders, s.Entrypoint, s.Cmd, s.Env, s.User, s.Tags)
	for _, target := range slices.Sorted(maps.Keys(s.Files)) {
		file := s.Files[target]
		_, _ = fmt.Fprintf(out, "%q %q %q %o %q\n", target, file.Source, file.Link, file.Mode, file.Content)
		if file.Source == "" {
			continue
		}
		info, err := os.Stat(file.Source)
		if err != nil {
			return fmt.Errorf("add %s to image: %w", target, err)
		}
		_, _ = fmt.Fprintln(out, info.Size(), info.ModTime().UnixNano())
	}
	return nil
}
