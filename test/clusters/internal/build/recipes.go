package build

import (
	"fmt"
	"regexp"
	"strings"
)

// Versions of what surrounds Kubernetes. Each is the newest that builds with
// the Go version of this repository.
const (
	EtcdVersion       = "v3.6.16"
	ContainerdVersion = "v2.4.2"
	RuncVersion       = "v1.5.2"
	CNIVersion        = "v1.9.1"
	CoreDNSVersion    = "v1.14.7"
	KwokVersion       = "v0.7.0"

	// DefaultKubernetes is the version of the clusters unless another is asked for.
	DefaultKubernetes = "1.37.1"
)

// recipe builds some binaries, from one generated module or by go install.
type recipe struct {
	name     string
	binaries []string
	// install are package@version arguments of go install, all of one module.
	install []string
	// kubernetes is the version for a generated module that builds packages
	// of k8s.io/kubernetes, which go install refuses for its replacements.
	kubernetes string
	packages   []string
	// source is the main.go of a generated module, and require what it needs.
	source  string
	require string
	tags    string
	cgo     bool
	ldflags string
}

// kubernetesBinaries come with every version; agnhost is the e2e suite's image.
var kubernetesPackages = []string{ //nolint:gochecknoglobals // a constant list
	"cmd/kube-apiserver", "cmd/kube-controller-manager", "cmd/kube-scheduler",
	"cmd/kubelet", "cmd/kube-proxy", "cmd/kubectl", "test/images/agnhost",
}

var versionForm = regexp.MustCompile(`^1\.(3[4-7])\.(0|[1-9][0-9]*)$`) //nolint:gochecknoglobals // a constant expression

// VersionError says that a Kubernetes version is none that the clusters can run.
type VersionError struct{ Version string }

// Error implements error.
func (e *VersionError) Error() string {
	return fmt.Sprintf("Kubernetes version %q: want a release from 1.34 to 1.37, such as %s, without a leading v", e.Version, DefaultKubernetes)
}

// CheckVersion returns a *VersionError unless the version is one to build.
func CheckVersion(version string) error {
	if !versionForm.MatchString(version) {
		return &VersionError{version}
	}
	return nil
}

func kubernetes(version string) recipe {
	r := recipe{name: "kubernetes-" + version, kubernetes: version, ldflags: kubernetesLDFlags(version)}
	for _, path := range kubernetesPackages {
		r.packages = append(r.packages, "k8s.io/kubernetes/"+path)
		r.binaries = append(r.binaries, path[strings.LastIndex(path, "/")+1:])
	}
	return r
}

// kubernetesLDFlags stamp the version that clients negotiate with; without it
// every server claims to be 0.0.0.
func kubernetesLDFlags(version string) string {
	parts := strings.Split(version, ".")
	const at = "k8s.io/component-base/version."
	return fmt.Sprintf("-X %[1]sgitVersion=v%[2]s -X %[1]sgitMajor=%[3]s -X %[1]sgitMinor=%[4]s -X %[1]sgitTreeState=clean -X k8s.io/client-go/pkg/version.gitVersion=v%[2]s",
		at, version, parts[0], parts[1])
}

func etcd() recipe {
	return recipe{
		name:     "etcd-" + EtcdVersion,
		binaries: []string{"etcd"},
		require:  "go.etcd.io/etcd/server/v3@" + EtcdVersion,
		source: `package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
`,
	}
}

func pause() recipe {
	return recipe{
		name:     "pause",
		binaries: []string{"pause"},
		// The first process of a pod's sandbox: it reaps orphans when the
		// process namespace is shared, and ends when it is told to.
		source: `package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
`,
	}
}

func installed(name, module, version string, commands ...string) recipe {
	r := recipe{name: name + "-" + version}
	for _, command := range commands {
		path := module
		if command != "." {
			path += "/" + command
		}
		r.install = append(r.install, path+"@"+version)
		r.binaries = append(r.binaries, path[strings.LastIndex(path, "/")+1:])
	}
	return r
}

func kwok() recipe {
	return installed("kwok", "sigs.k8s.io/kwok", KwokVersion, "cmd/kwok")
}

// nodeRecipes build what a real node runs besides Kubernetes' own programs.
func nodeRecipes() []recipe {
	containerd := installed("containerd", "github.com/containerd/containerd/v2", ContainerdVersion,
		"cmd/containerd", "cmd/containerd-shim-runc-v2", "cmd/ctr")
	containerd.tags = "no_btrfs no_devmapper no_zfs"
	runc := installed("runc", "github.com/opencontainers/runc", RuncVersion, ".")
	runc.tags, runc.cgo = "seccomp", true
	cni := installed("cni-plugins", "github.com/containernetworking/plugins", CNIVersion,
		"plugins/main/bridge", "plugins/main/loopback", "plugins/ipam/host-local", "plugins/meta/portmap")
	coredns := installed("coredns", "github.com/coredns/coredns", CoreDNSVersion, ".")
	return []recipe{containerd, runc, cni, coredns, pause()}
}
