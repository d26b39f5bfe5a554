package build

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheckDisks(t *testing.T) {
	needs := []need{{"/cache", 100}, {"/packages", 200}, {"/modules", 50}}
	cases := map[string]struct {
		reason string
		disks  map[string]disk
		want   string
	}{
		"Enough": {
			reason: "there is enough space",
			disks:  map[string]disk{"/cache": {1, 350}, "/packages": {1, 350}, "/modules": {1, 350}},
		},
		"Together": {
			reason: "each would fit alone, but not all on one disk",
			disks:  map[string]disk{"/cache": {1, 349}, "/packages": {1, 349}, "/modules": {1, 349}},
			want: "a first build may take 350 MiB in /cache and /packages and /modules, and 349 MiB are free: " +
				"free some space, or set XDG_CACHE_HOME, GOCACHE and GOMODCACHE to folders on another disk",
		},
		"Apart": {
			reason: "only the full disk is named",
			disks:  map[string]disk{"/cache": {1, 1000}, "/packages": {2, 150}, "/modules": {1, 1000}},
			want: "a first build may take 200 MiB in /packages, and 150 MiB are free: " +
				"free some space, or set XDG_CACHE_HOME, GOCACHE and GOMODCACHE to folders on another disk",
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			err := checkDisks(needs, func(folder string) (disk, error) { return tc.disks[folder], nil })
			got := ""
			if err != nil {
				got = err.Error()
				if _, ok := errors.AsType[*Error](err); !ok {
					t.Errorf("%s: got %T, want an *Error", tc.reason, err)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// A cache that does not exist yet is on the disk of the folder that it will be in.
func TestStatDiskOfTheFuture(t *testing.T) {
	folder := t.TempDir()
	here, err := statDisk(folder)
	if err != nil {
		t.Fatal(err)
	}
	future, err := statDisk(folder + "/a/b/c")
	if err != nil {
		t.Fatal(err)
	}
	if here.id != future.id || here.free == 0 {
		t.Errorf("got %v for a folder and %v for one to be in it", here, future)
	}
}

func TestExplain(t *testing.T) {
	cases := map[string]struct {
		reason string
		output string
		user   bool
		says   string
	}{
		"Full": {
			reason: "the disk filled up although there seemed to be room",
			output: "compile: writing output: write $WORK/b001/_pkg_.a: no space left on device",
			user:   true,
			says:   "a disk is full: free some space",
		},
		"Offline": {
			reason: "the network went away",
			output: `go: k8s.io/api@v0.37.1: Get "https://proxy.golang.org/k8s.io/api/@v/v0.37.1.mod": ` +
				`dial tcp: lookup proxy.golang.org: no such host`,
			user: true,
			says: "the Go module proxy does not answer: connect this machine, or set GOPROXY",
		},
		"Old": {
			reason: "the module needs a newer Go than there is",
			output: "go: k8s.io/kubernetes@v1.37.1 requires go >= 1.26.0 (running go 1.25.3; GOTOOLCHAIN=local)", user: true,
			says: "install a newer Go: requires go >= 1.26.0 (running go 1.25.3; GOTOOLCHAIN=local)",
		},
		"Other": {reason: "any other output is passed on", output: "main.go:3: syntax error", says: "main.go:3: syntax error"},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			cause := errors.New("exit status 1")
			err := explain("tiny", &commandError{command: "go build", output: tc.output, err: cause})
			var user *Error
			if errors.As(err, &user) != tc.user || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: got %v, want one that says %q, *Error %t", tc.reason, err, tc.says, tc.user)
			}
		})
	}
}

func TestSaysUnknown(t *testing.T) {
	cases := map[string]struct {
		output string
		want   bool
	}{
		"404": {"k8s.io/kubernetes@v1.37.99: reading https://proxy.golang.org/k8s.io/kubernetes/@v/v1.37.99.info: 404 Not Found", true},
		"403": {"k8s.io/kubernetes@v1.37.99: reading https://proxy.golang.org/k8s.io/kubernetes/@v/v1.37.99.info: 403 Forbidden", true},
		"410": {"k8s.io/kubernetes@v1.37.99: reading https://proxy.golang.org/k8s.io/kubernetes/@v/v1.37.99.info: 410 Gone", true},
		"Git": {"k8s.io/kubernetes@v1.37.99: invalid version: unknown revision v1.37.99", true},
		"502": {"k8s.io/kubernetes@v1.37.1: reading https://proxy.golang.org/k8s.io/kubernetes/@v/v1.37.1.info: 502 Bad Gateway", false},
		"Off": {"k8s.io/kubernetes@v1.37.1: module lookup disabled by GOPROXY=off", false},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			if got := saysUnknown.MatchString(tc.output); got != tc.want {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}
}
