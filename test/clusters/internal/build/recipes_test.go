package build

import (
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheckVersion(t *testing.T) {
	cases := map[string]struct {
		reason  string
		version string
		ok      bool
	}{
		"Default":   {"the default must be allowed", DefaultKubernetes, true},
		"Oldest":    {"the oldest line", "1.34.0", true},
		"TwoDigits": {"a late patch release", "1.35.12", true},
		"TooOld":    {"its servers are made in another way", "1.33.7", false},
		"TooNew":    {"nobody has tried it", "1.38.0", false},
		"NoPatch":   {"a line is not a release", "1.37", false},
		"Prefix":    {"versions have no v, in flags and folders alike", "v1.37.1", false},
		"Candidate": {"a release candidate is no release", "1.37.0-rc.0", false},
		"Zeros":     {"one release has one name", "1.37.01", false},
		"Words":     {"anything else", "latest", false},
		"Path":      {"it becomes part of a folder's name", "1.37.1/../..", false},
		"Empty":     {"nothing", "", false},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			err := CheckVersion(tc.version)
			var version *VersionError
			if tc.ok != (err == nil) || !tc.ok && !errors.As(err, &version) {
				t.Errorf("%s: got %v, want allowed %t", tc.reason, err, tc.ok)
			}
		})
	}
}

// The programs and files that callers ask for by name, and each from one recipe.
func TestRecipesMakeAll(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("real nodes need Linux")
	}
	var got []string
	for _, r := range slices.Concat(nodeRecipes(), sidecars(),
		[]recipe{kubernetes("1.37.1"), kubernetesTests("1.37.1"), etcd(), kwok()}) {
		got = append(got, r.names()...)
	}
	got = append(got, localPath().names()...)
	slices.Sort(got)
	want := []string{
		"agnhost", "bridge", "containerd", "containerd-shim-runc-v2", "coredns",
		"csi-attacher", "csi-provisioner", "csi-resizer", "ctr", TestProgram, "etcd", TestRunner, "host-local", ImageNames,
		"kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet", "kubernetes", "kwok",
		"local-path-provisioner",
		LocalhostCert, LocalhostKey, "loopback", "nnp", "pause", "portmap", "runc",
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

// Two versions, or the same with another flag, must never share a folder.
func TestDir(t *testing.T) {
	changed := kubernetes("1.37.1")
	changed.ldflags += " -X a.b=c"
	seen := map[string]bool{}
	for _, r := range append(nodeRecipes(), kubernetes("1.37.1"), kubernetes("1.36.3"), changed, etcd()) {
		dir := r.dir("/cache")
		if seen[dir] {
			t.Errorf("two recipes have %s", dir)
		}
		seen[dir] = true
	}
	if diff := cmp.Diff(kubernetes("1.37.1").dir("/cache"), kubernetes("1.37.1").dir("/cache")); diff != "" {
		t.Errorf("the same recipe: -first, +second:\n%s", diff)
	}
}

func TestKubernetesLDFlags(t *testing.T) {
	const want = "-X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1" +
		" -X k8s.io/component-base/version.gitMinor=36 -X k8s.io/component-base/version.gitTreeState=clean" +
		" -X k8s.io/client-go/pkg/version.gitVersion=v1.36.3"
	if diff := cmp.Diff(want, kubernetesLDFlags("1.36.3")); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

// Tests are compiled differently from programs, and a module of tests only has no
// program of its own.
func TestGoBuilds(t *testing.T) {
	const folder = "/out"
	cases := map[string]struct {
		reason string
		recipe recipe
		want   [][]string
	}{
		"Own": {
			reason: "the generated module's program is the first file",
			recipe: recipe{files: []string{"own"}, main: map[string]string{"main.go": ""}},
			want:   [][]string{{"build", "-o", "/out/own", "."}},
		},
		"Others": {
			reason: "a package whose path ends in .test stands for the tests of the one before it",
			recipe: recipe{files: []string{"e2e.test", "ginkgo"}, packages: []string{"example.org/e2e.test", "example.org/v2/ginkgo"}},
			want: [][]string{
				{"test", "-c", "-vet=off", "-o", "/out/e2e.test", "example.org/e2e"},
				{"build", "-o", "/out/ginkgo", "example.org/v2/ginkgo"},
			},
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			var got [][]string
			for _, args := range tc.recipe.goBuilds(folder) {
				got = append(got, slices.DeleteFunc(args, func(arg string) bool {
					return slices.Contains(append(tc.recipe.flags(), "-mod=mod"), arg)
				}))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
