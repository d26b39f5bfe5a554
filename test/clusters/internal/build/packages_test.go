package build

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The stand-ins for Debian's commands record their arguments. Only the programs in
// PATH differ from a real machine.
const (
	dpkgAll  = "#!/bin/sh\nshift 3\nfor p; do echo $p installed; done\n"
	dpkgMost = "#!/bin/sh\nshift 3\n" +
		"for p; do case $p in curl) echo $p not-installed;; conntrack) ;; *) echo $p installed;; esac; done\nexit 1\n"
	aptWorks    = "#!/bin/sh\necho \"$@\" >>\"$LOG\"\n"
	aptNeedsNew = "#!/bin/sh\necho \"$@\" >>\"$LOG\"\n" +
		"case \"$*\" in *install*) grep -q update \"$LOG\" || { echo E: Unable to locate package curl; exit 100; } ;; esac\n"
	aptFails = "#!/bin/sh\necho \"$@\" >>\"$LOG\"\necho E: Temporary failure resolving deb.debian.org; exit 100\n"
)

func TestPackages(t *testing.T) {
	const (
		install = "-q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends conntrack curl"
		update  = "-q -o DPkg::Lock::Timeout=300 update"
	)
	cases := map[string]struct {
		reason string
		tools  map[string]string
		root   bool // only root gets so far
		calls  []string
		says   string
	}{
		"Complete": {
			reason: "nothing happens if nothing is missing",
			tools:  map[string]string{"dpkg-query": dpkgAll, "apt-get": aptWorks},
		},
		"Missing": {
			reason: "packages that dpkg does not know, or that are not installed, are installed",
			tools:  map[string]string{"dpkg-query": dpkgMost, "apt-get": aptWorks},
			root:   true, calls: []string{install},
		},
		"NoLists": {
			reason: "a fresh machine's lists are fetched first",
			tools:  map[string]string{"dpkg-query": dpkgMost, "apt-get": aptNeedsNew},
			root:   true, calls: []string{install, update, install},
		},
		"Offline": {
			reason: "the error names the packages and what to fix",
			tools:  map[string]string{"dpkg-query": dpkgMost, "apt-get": aptFails},
			root:   true,
			calls:  []string{install, update},
			says:   "update Debian's package lists, to install conntrack curl: connect this machine",
		},
		"NoDebian": {
			reason: "on other systems the user must find them",
			tools:  map[string]string{"dpkg-query": dpkgMost},
			says:   "apt-get does not exist here: install the equivalents of Debian's conntrack curl",
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			path, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
			for tool, script := range tc.tools {
				if err := os.WriteFile(filepath.Join(path, tool), []byte(script), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			b := &Builder{Env: append(os.Environ(), "LOG="+log)}
			t.Setenv("PATH", path)
			err := b.Packages(t.Context())
			if tc.root && os.Geteuid() != 0 {
				tc.calls, tc.says = nil, "as root, apt-get install conntrack curl"
			}
			var user *Error
			if (tc.says != "") != errors.As(err, &user) || tc.says == "" && err != nil || tc.says != "" && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: got %v, want an *Error that says %q, or none", tc.reason, err, tc.says)
			}
			if diff := cmp.Diff(tc.calls, lines(t, log)); diff != "" {
				t.Errorf("%s: calls of apt-get: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// lines are those of a file, or none if there is no file.
func lines(t *testing.T, file string) []string {
	t.Helper()
	content, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}
