package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// Names that the clusters' own manifests and the tests use.
const (
	PauseName   = "registry.k8s.io/pause:3.10.2"
	CoreDNSName = "registry.k8s.io/coredns/coredns:test"
	BusyboxName = "docker.io/library/busybox:1.36"
	AgnhostName = "registry.k8s.io/e2e-test-images/agnhost:2.66.1"
)

// Set is what every node gets.
type Set struct {
	// Archives are docker-archive files.
	Archives []string
}

// Ensure makes the images of these programs in the cache, or finds them there.
func Ensure(ctx context.Context, cache string, programs map[string]string) (Set, error) {
	var set Set
	specs, err := specs(ctx, programs)
	if err != nil {
		return Set{}, err
	}
	folder := filepath.Join(cache, "images")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return Set{}, fmt.Errorf("make the cache folder for images: %w", err)
	}
	for _, named := range specs {
		file := filepath.Join(folder, named.name+"-"+named.spec.key()+".tar")
		if _, err := os.Stat(file); err != nil {
			if err := atomically(file, named.spec); err != nil {
				return Set{}, err
			}
		}
		set.Archives = append(set.Archives, file)
	}
	return set, nil
}

// atomically writes the archive under another name first, so that an
// interrupted or concurrent caller never sees half of it.
func atomically(file string, spec Spec) error {
	work, err := os.CreateTemp(filepath.Dir(file), ".work-*")
	if err != nil {
		return fmt.Errorf("make an image archive: %w", err)
	}
	defer func() { _ = os.Remove(work.Name()) }()
	if err := work.Close(); err != nil {
		return fmt.Errorf("make an image archive: %w", err)
	}
	if err := Archive(spec, work.Name()); err != nil {
		return err
	}
	if err := os.Rename(work.Name(), file); err != nil {
		return fmt.Errorf("keep an image archive: %w", err)
	}
	return nil
}

// key tells specs apart by content, as far as it is cheap: the files of the
// machine by path, size and time.
func (s Spec) key() string {
	sum := sha256.New()
	_, _ = fmt.Fprintf(sum, "%v %v %v %v %v %v", s.Folders, s.Entrypoint, s.Cmd, s.Env, s.User, s.Tags)
	for _, folder := range s.folders() {
		_, _ = fmt.Fprintln(sum, folder)
	}
	for target, file := range sorted(s.Files) {
		_, _ = fmt.Fprintln(sum, target, file.Source, file.Link, file.Mode, len(file.Content))
		if info, err := os.Stat(file.Source); err == nil {
			_, _ = fmt.Fprintln(sum, info.Size(), info.ModTime().UnixNano())
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:4])
}

type namedSpec struct {
	name string
	spec Spec
}

func specs(ctx context.Context, programs map[string]string) ([]namedSpec, error) {
	shell, err := busybox(ctx)
	if err != nil {
		return nil, err
	}
	agnhost, err := agnhost(ctx, programs["agnhost"], shell)
	if err != nil {
		return nil, err
	}
	return []namedSpec{
		{"pause", Spec{
			Files:      map[string]File{"/pause": {Source: programs["pause"]}},
			Entrypoint: []string{"/pause"}, User: "65535:65535",
			Tags: []string{PauseName, "registry.k8s.io/pause:latest"},
		}},
		{"coredns", Spec{
			Files:      map[string]File{"/coredns": {Source: programs["coredns"]}},
			Entrypoint: []string{"/coredns"},
			Tags:       []string{CoreDNSName},
		}},
		{"busybox", Spec{
			Files: shell, Folders: []string{"/tmp", "/var/tmp"}, Cmd: []string{"sh"},
			Tags: []string{
				BusyboxName, "docker.io/library/busybox:latest",
				"registry.k8s.io/e2e-test-images/busybox:1.37.0-2", "registry.k8s.io/e2e-test-images/busybox:1.36.1-1",
			},
		}},
		{"agnhost", agnhost},
	}, nil
}

// busybox is Debian's static busybox with a link for each of its commands.
func busybox(ctx context.Context) (map[string]File, error) {
	program, err := exec.LookPath("busybox")
	if err != nil {
		return nil, fmt.Errorf("find busybox: install Debian's busybox-static: %w", err)
	}
	out, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list busybox's commands: %w", err)
	}
	files := map[string]File{
		"/bin/busybox": {Source: program},
		"/etc/passwd":  {Content: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nuser-defined-in-image:x:1000:1000::/:/bin/sh\n"), Mode: 0o644},
		"/etc/group":   {Content: []byte("root:x:0:\nnogroup:x:65534:\nuser-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n"), Mode: 0o644},
	}
	for command := range strings.FieldsSeq(string(out)) {
		if command != "busybox" { // it lists itself
			files["/bin/"+command] = File{Link: "/bin/busybox"}
		}
	}
	return files, nil
}

// agnhost is the image of Kubernetes' end-to-end tests: their program, a shell
// and curl, which some of their hooks call.
func agnhost(ctx context.Context, program string, shell map[string]File) (Spec, error) {
	files := map[string]File{"/agnhost": {Source: program}, "/agnhost-2": {Link: "/agnhost"}}
	for target, file := range shell {
		files[target] = file
	}
	if err := addWithLibraries(ctx, files, "curl"); err != nil {
		return Spec{}, err
	}
	certificate, key, err := localhostCertificate()
	if err != nil {
		return Spec{}, err
	}
	files["/localhost.crt"] = File{Content: certificate, Mode: 0o644}
	files["/localhost.key"] = File{Content: key, Mode: 0o644}
	return Spec{
		Files: files, Folders: []string{"/uploads", "/tmp"}, Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"},
		Tags: []string{AgnhostName, "registry.k8s.io/e2e-test-images/agnhost:2.55", "docker.io/library/agnhost:latest"},
	}, nil
}

var libraryLine = regexp.MustCompile(`(/\S+) \(0x`) //nolint:gochecknoglobals // a constant expression

// addWithLibraries adds a program of this machine and the shared libraries
// that it is linked with, where it looks for them.
func addWithLibraries(ctx context.Context, files map[string]File, command string) error {
	program, err := exec.LookPath(command)
	if err != nil {
		return fmt.Errorf("find %s: install Debian's package %s: %w", command, command, err)
	}
	out, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		return fmt.Errorf("list the libraries of %s: %w", command, err)
	}
	files["/usr/bin/"+command] = File{Source: program}
	for _, match := range libraryLine.FindAllStringSubmatch(string(out), -1) {
		files[match[1]] = File{Source: match[1]}
	}
	return nil
}

func goarch() string { return runtime.GOARCH }
