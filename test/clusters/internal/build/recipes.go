package build

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"runtime"
	"strings"
)

// Versions of what surrounds Kubernetes, from each project's own releases.
// Each builds with the Go version of this repository and works with every
// Kubernetes version that CheckVersion allows.
const (
	// EtcdVersion is of the line that Kubernetes 1.34 and 1.35 name in their
	// build/dependencies.yaml; 1.36 and 1.37 accept it.
	EtcdVersion = "v3.6.16"
	// ContainerdVersion is https://github.com/containerd/containerd/releases.
	ContainerdVersion = "v2.4.2"
	// RuncVersion is https://github.com/opencontainers/runc/releases.
	RuncVersion = "v1.5.2"
	// CNIVersion is https://github.com/containernetworking/plugins/releases.
	CNIVersion = "v1.9.1"
	// CoreDNSVersion is https://github.com/coredns/coredns/releases.
	CoreDNSVersion = "v1.14.7"
	// LocalPathVersion is https://github.com/rancher/local-path-provisioner/releases.
	LocalPathVersion = "v0.0.30"
	// KwokVersion is https://github.com/kubernetes-sigs/kwok/releases.
	KwokVersion = "v0.7.0"
	// The Kubernetes CSI project's own, https://kubernetes-csi.github.io/docs/sidecar-containers.html.
	provisionerVersion = "v6.4.0"
	attacherVersion    = "v4.13.0"
	resizerVersion     = "v2.3.0"

	// DefaultKubernetes is the default version of the clusters.
	DefaultKubernetes = "1.37.1"
)

// Names under which Programs returns files that are not programs: the end-to-end
// tests of that Kubernetes version expect them in their images.
const (
	ImageNames    = "image-manifest.go" // k8s.io/kubernetes/test/utils/image/manifest.go
	LocalhostCert = "localhost.crt"     // of agnhost's https servers
	LocalhostKey  = "localhost.key"
)

// Names under which Tests returns its programs, among others.
const (
	TestProgram = "e2e.test"
	TestRunner  = "ginkgo"
	TestKubectl = "kubectl"
)

//go:embed source
var source embed.FS

// recipe describes how some files are made in one build.
type recipe struct {
	name string
	// files are what the recipe makes: programs, and what is beside them.
	files []string
	// install are package@version arguments of go install, all of one module.
	install []string
	// module is module@version for a generated module that requires it, which
	// is how a module is built whose go.mod has replacements.
	module string
	// staging replaces the modules that module requires at v0.0.0.
	staging string
	// main is the generated module's own program, main.go and others by name,
	// and becomes files[0]; there may be none.
	main map[string]string
	// packages are more programs to build there. One whose path ends in .test
	// has the tests of the package before it, as go list -test names them.
	packages []string
	// links are programs that are links to files[0].
	links []string
	// copies are files of module: path in it by name here.
	copies map[string]string
	// c is a program in C that becomes files[0].
	c string

	tags    string
	cgo     bool
	ldflags string
	// space is the disk space of a first build, in MiB.
	space space
}

// space is a need of disk space in MiB: of the cache of programs, of Go's
// cache of packages and of Go's cache of modules.
type space struct{ programs, packages, modules uint64 }

var versionForm = regexp.MustCompile(`^1\.3[4-7]\.(0|[1-9][0-9]*)$`)

// VersionError says that the clusters cannot run a Kubernetes version. It is a
// mistake of the user who chose it.
type VersionError struct {
	// Version is the one that the user gave.
	Version string
	// Err is the cause, if the version has the right form.
	Err error
}

// Error implements error.
func (e *VersionError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("no Kubernetes version %q: choose a patch release of 1.34 to 1.37, such as %s", e.Version, DefaultKubernetes)
	}
	return fmt.Sprintf("Kubernetes %s cannot be downloaded: choose a patch release that exists, such as %s: %v",
		e.Version, DefaultKubernetes, e.Err)
}

// Unwrap returns the cause.
func (e *VersionError) Unwrap() error { return e.Err }

// CheckVersion returns a VersionError unless version has the form of a release
// that the clusters can run: 1.34 to 1.37, without a leading v. Only a build
// shows whether that release exists.
func CheckVersion(version string) error {
	if !versionForm.MatchString(version) {
		return &VersionError{Version: version}
	}
	return nil
}

// kubernetes makes one file for all servers, links to it, and the programs whose
// own main is more than a line. Servers built one by one differ only in the help
// of kube-proxy, which has cAdvisor's flags too, and of the scheduler, which has
// one more feature gate.
func kubernetes(version string) recipe {
	r := recipe{
		name:     "kubernetes-" + version,
		files:    []string{"kubernetes", "kubectl"},
		links:    []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"},
		main:     sources("kubernetes"),
		packages: []string{"k8s.io/kubernetes/cmd/kubectl"},
		module:   "k8s.io/kubernetes@v" + version,
		staging:  "v0." + strings.TrimPrefix(version, "1."),
		ldflags:  kubernetesLDFlags(version),
		space:    space{programs: 800, packages: 3000, modules: 1500},
	}
	if runtime.GOOS != "linux" {
		return r
	}
	r.links = append(r.links, "kubelet", "kube-proxy")
	r.files = append(r.files, "agnhost", ImageNames, LocalhostCert, LocalhostKey)
	r.packages = append(r.packages, "k8s.io/kubernetes/test/images/agnhost")
	r.copies = map[string]string{
		ImageNames:    "test/utils/image/manifest.go",
		LocalhostCert: "test/images/agnhost/porter/localhost.crt",
		LocalhostKey:  "test/images/agnhost/porter/localhost.key",
	}
	return r
}

// kubernetesTests makes Kubernetes' own end-to-end tests, and the runner of the
// version that they are written for: another one refuses to run them.
func kubernetesTests(version string) recipe {
	return recipe{
		name:     "kubernetes-tests-" + version,
		files:    []string{TestProgram, TestRunner},
		packages: []string{"k8s.io/kubernetes/test/e2e.test", "github.com/onsi/ginkgo/v2/ginkgo"},
		module:   "k8s.io/kubernetes@v" + version,
		staging:  "v0." + strings.TrimPrefix(version, "1."),
		ldflags:  kubernetesLDFlags(version),
		space:    space{programs: 500, packages: 3000, modules: 1500},
	}
}

// kubernetesLDFlags stamp the version that clients negotiate. Without them every
// server claims to be 0.0.0.
// https://github.com/kubernetes/kubernetes/blob/master/hack/lib/version.sh
func kubernetesLDFlags(version string) string {
	parts := strings.Split(version, ".")
	const at = "k8s.io/component-base/version."
	return fmt.Sprintf("-X %[1]sgitVersion=v%[2]s -X %[1]sgitMajor=%[3]s -X %[1]sgitMinor=%[4]s "+
		"-X %[1]sgitTreeState=clean -X k8s.io/client-go/pkg/version.gitVersion=v%[2]s",
		at, version, parts[0], parts[1])
}

func etcd() recipe {
	return recipe{
		name:   "etcd-" + EtcdVersion,
		files:  []string{"etcd"},
		main:   sources("etcd"),
		module: "go.etcd.io/etcd/server/v3@" + EtcdVersion,
		space:  space{programs: 60, packages: 300, modules: 200},
	}
}

func pause() recipe {
	return recipe{name: "pause", files: []string{"pause"}, c: sources("pause")["pause.c"]}
}

// nonewprivs is the program of Kubernetes' test image of that name.
func nonewprivs() recipe {
	return recipe{name: "nonewprivs", files: []string{"nnp"}, c: sources("nonewprivs")["nnp.c"]}
}

// sources returns the files of a folder of source, by name. They end in .txt
// there, because they are no part of this module.
func sources(folder string) map[string]string {
	files := map[string]string{}
	entries, err := fs.ReadDir(source, path.Join("source", folder))
	if err != nil {
		panic(err) // the folder is embedded
	}
	for _, entry := range entries {
		content, err := source.ReadFile(path.Join("source", folder, entry.Name()))
		if err != nil {
			panic(err)
		}
		files[strings.TrimSuffix(entry.Name(), ".txt")] = string(content)
	}
	return files
}

// installed is a recipe for commands, by their folders, of one module.
func installed(name, module, version string, commands ...string) recipe {
	r := recipe{name: name + "-" + version}
	for _, command := range commands {
		full := path.Join(module, command)
		r.install = append(r.install, full+"@"+version)
		r.files = append(r.files, path.Base(full))
	}
	return r
}

func kwok() recipe {
	r := installed("kwok", "sigs.k8s.io/kwok", KwokVersion, "cmd/kwok")
	r.ldflags = "-X sigs.k8s.io/kwok/pkg/consts.Version=" + KwokVersion
	r.space = space{programs: 90, packages: 400, modules: 200}
	return r
}

func localPath() recipe {
	const module = "github.com/rancher/local-path-provisioner"
	return recipe{
		name:     "local-path-provisioner-" + LocalPathVersion,
		files:    []string{"local-path-provisioner"},
		packages: []string{module},
		module:   module + "@" + LocalPathVersion,
		ldflags:  "-X main.VERSION=" + LocalPathVersion,
		space:    space{programs: 50, packages: 400, modules: 300},
	}
}

// nodeRecipes build what a real node runs besides Kubernetes' own programs.
func nodeRecipes() []recipe {
	containerd := installed("containerd", "github.com/containerd/containerd/v2", ContainerdVersion,
		"cmd/containerd", "cmd/containerd-shim-runc-v2", "cmd/ctr")
	// Storage that needs headers or devices that a node here does not have.
	containerd.tags = "no_btrfs no_devmapper no_zfs"
	containerd.ldflags = "-X github.com/containerd/containerd/v2/version.Version=" + ContainerdVersion
	containerd.space = space{programs: 160, packages: 700, modules: 300}
	// Static, so that the cached program does not depend on this machine's
	// libraries; as in runc's own releases.
	runc := installed("runc", "github.com/opencontainers/runc", RuncVersion, ".")
	runc.tags, runc.ldflags, runc.cgo = "seccomp netgo osusergo static_build", "-extldflags=-static", true
	runc.space = space{programs: 30, packages: 300, modules: 50}
	cni := installed("cni-plugins", "github.com/containernetworking/plugins", CNIVersion,
		"plugins/main/bridge", "plugins/main/loopback", "plugins/ipam/host-local", "plugins/meta/portmap")
	cni.ldflags = "-X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=" + CNIVersion
	cni.space = space{programs: 40, packages: 200, modules: 50}
	coredns := installed("coredns", "github.com/coredns/coredns", CoreDNSVersion, ".")
	coredns.space = space{programs: 160, packages: 1700, modules: 900}
	return []recipe{containerd, runc, cni, coredns, pause(), nonewprivs()}
}

// sidecars call a storage driver for a cluster.
func sidecars() []recipe {
	sidecar := func(program, module, version string) recipe {
		return recipe{
			name:     program + "-" + version,
			files:    []string{program},
			packages: []string{module + "/cmd/" + program},
			module:   module + "@" + version,
			ldflags:  "-X main.version=" + version,
			space:    space{programs: 60, packages: 500, modules: 300},
		}
	}
	const at = "github.com/kubernetes-csi/"
	return []recipe{
		sidecar("csi-provisioner", at+"external-provisioner/v6", provisionerVersion),
		sidecar("csi-attacher", at+"external-attacher/v4", attacherVersion),
		sidecar("csi-resizer", at+"external-resizer/v2", resizerVersion),
	}
}
