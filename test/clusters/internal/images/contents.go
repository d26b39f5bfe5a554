package images

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"strings"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/build"
)

// users and groups are those of a plain image: ls shows others by their numbers.
const (
	users = `root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
`
	groups = `root:x:0:
nogroup:x:65534:
`
)

// imageUsers and imageGroups are more, of Kubernetes' agnhost image: tests of
// supplemental groups rely on them.
const (
	imageUsers  = "user-defined-in-image:x:1000:1000::/home/user-defined-in-image:/bin/sh\n"
	imageGroups = "user-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n"
)

// shell is Debian's static busybox with a link for each of its commands. Its
// shell hides variables such as data-1 from the programs that it starts, but the
// one in busybox's own images passes them on, and tests of envFrom check that.
// Therefore sh by its name is another shell. /bin/sh is busybox's, because a test
// checks its messages.
func shell(ctx context.Context) (Spec, error) {
	bash, err := exec.LookPath("bash-static")
	if err != nil {
		return Spec{}, fmt.Errorf("find bash-static: as root, apt-get install bash-static: %w", err)
	}
	program, err := exec.LookPath("busybox")
	if err != nil {
		return Spec{}, fmt.Errorf("find busybox: as root, apt-get install busybox-static: %w", err)
	}
	out, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return Spec{}, fmt.Errorf("list busybox's commands: %w", err)
	}
	files := map[string]File{
		"/bin/busybox": {Source: program},
		// env is called by this path in scripts' first lines.
		"/usr/bin/env":       {Link: "/bin/busybox"},
		"/etc/passwd":        {Content: []byte(users), Mode: 0o644},
		"/etc/group":         {Content: []byte(groups), Mode: 0o644},
		"/etc/nsswitch.conf": {Content: []byte("hosts: files dns\n"), Mode: 0o644},
	}
	for command := range strings.FieldsSeq(string(out)) {
		if command != "busybox" { // it lists itself
			files["/bin/"+command] = File{Link: "/bin/busybox"}
		}
	}
	files["/bin/bash"], files["/usr/local/bin/sh"] = File{Source: bash}, File{Link: "/bin/bash"}
	tools, err := networkTools(ctx)
	if err != nil {
		return Spec{}, err
	}
	maps.Copy(files, tools)
	return Spec{
		Files:   files,
		Folders: []string{"/tmp", "/var/tmp", "/root"},
		Cmd:     []string{"sh"},
	}, nil
}

// networkTools are needed by Kubernetes' tests of DNS and UDP only: dig, getent,
// and an nc that supports UDP, which busybox's does not. If this machine lacks
// them, those tests fail wherever the pod runs: apt-get install bind9-dnsutils
// netcat-openbsd.
func networkTools(ctx context.Context) (map[string]File, error) {
	files := map[string]File{}
	for command, link := range map[string]string{
		"dig":        "/usr/local/bin/dig",
		"getent":     "/usr/local/bin/getent",
		"nc.openbsd": "/usr/local/bin/nc",
	} {
		if _, err := exec.LookPath(command); err != nil {
			continue
		}
		found, err := withLibraries(ctx, command)
		if err != nil {
			return nil, err
		}
		maps.Copy(files, found)
		files[link] = File{Link: "/usr/bin/" + command}
	}
	return files, nil
}

// agnhost is the image of Kubernetes' end-to-end tests: their program, the
// certificates of its https servers, a shell, and bash and curl, which tests call.
// https://github.com/kubernetes/kubernetes/blob/master/test/images/agnhost/Dockerfile
func agnhost(ctx context.Context, base *Spec, programs Programs) (Spec, error) {
	files := map[string]File{
		"/agnhost":       {Source: programs["agnhost"]},
		"/agnhost-2":     {Link: "/agnhost"},
		"/localhost.crt": {Source: programs[build.LocalhostCert], Mode: 0o644},
		"/localhost.key": {Source: programs[build.LocalhostKey], Mode: 0o644},
		"/etc/passwd":    {Content: []byte(users + imageUsers), Mode: 0o644},
		"/etc/group":     {Content: []byte(groups + imageGroups), Mode: 0o644},
		// busybox's shell has a built-in nc, whichever nc is in the path.
		"/bin/sh": {Link: "/bin/bash"},
	}
	curl, err := withLibraries(ctx, "curl")
	if err != nil {
		return Spec{}, err
	}
	maps.Copy(files, curl)
	return Spec{
		Base:       base,
		Files:      files,
		Folders:    []string{"/uploads", "/home/user-defined-in-image"},
		Entrypoint: []string{"/agnhost"},
		Cmd:        []string{"pause"},
	}, nil
}

// glibc stands in for a Debian image. Tests look up the host's name in it, which
// Debian's busybox does as glibc does, and write with a dd that knows more than
// busybox's.
func glibc(ctx context.Context, base *Spec, names testNames) (Spec, error) {
	files, err := withLibraries(ctx, "dd")
	if err != nil {
		return Spec{}, err
	}
	files["/bin/sh"] = File{Link: "/bin/bash"} // busybox's has a built-in dd
	return Spec{
		Base:  base,
		Files: files,
		Cmd:   base.Cmd,
		Tags:  names.with([]string{"GlibcDnsTesting"}),
	}, nil
}

// nginx stands in for the web servers of that name, and for httpd, which took
// their place before Kubernetes 1.35: tests only check that they answer on their
// port, or run a shell in them.
func nginx(base *Spec, names testNames) Spec {
	const root = "/usr/share/nginx/html"
	return Spec{
		Base: base, Cmd: []string{"httpd", "-f", "-p", "80", "-h", root},
		Files: map[string]File{
			root + "/index.html":        {Content: []byte("<h1>Welcome</h1>\n"), Mode: 0o644},
			"/usr/local/apache2/htdocs": {Link: root},
		},
		Tags: names.with([]string{"Nginx", "NginxNew", "Httpd", "HttpdNew"}),
	}
}

// webserver is one of the two images that the test of rolling updates
// distinguishes by their content.
// https://github.com/kubernetes/kubernetes/tree/master/test/images/nautilus
func webserver(base *Spec, animal string, tags []string) Spec {
	return Spec{
		Base:       base,
		Entrypoint: base.Entrypoint,
		Cmd:        []string{"test-webserver"},
		Tags:       tags,
		Files: map[string]File{
			"/data.json":          {Content: fmt.Appendf(nil, "{\"image\": \"%s.jpg\"}\n", animal), Mode: 0o644},
			"/" + animal + ".jpg": {Content: []byte(animal), Mode: 0o644},
		},
	}
}

var libraryLine = regexp.MustCompile(`(/\S+) \(0x`)

// withLibraries returns a program of this machine and the shared libraries that
// it is linked with, where it looks for them.
func withLibraries(ctx context.Context, command string) (map[string]File, error) {
	program, err := exec.LookPath(command)
	if err != nil {
		return nil, fmt.Errorf("find %s: as root, apt-get install %s: %w", command, command, err)
	}
	out, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		return nil, fmt.Errorf("list the libraries of %s: %w", program, err)
	}
	files := map[string]File{"/usr/bin/" + command: {Source: program}}
	for _, match := range libraryLine.FindAllStringSubmatch(string(out), -1) {
		files[match[1]] = File{Source: match[1]}
	}
	return files, nil
}
