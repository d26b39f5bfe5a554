package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tiny is a recipe without dependencies that builds in a second.
func tiny() recipe {
	return recipe{
		name:  "tiny",
		files: []string{"tiny"},
		links: []string{"small"},
		main: map[string]string{"main.go": `package main

import (
	"os"
	"path/filepath"
)

var version = "unset"

func main() { println(filepath.Base(os.Args[0]), version) }
`},
		ldflags: "-X main.version=7",
	}
}

// steps collects the reports of a Builder, without times.
type steps struct {
	mu   sync.Mutex
	seen []string
	told chan struct{}
}

func newSteps() *steps { return &steps{told: make(chan struct{}, 100)} }

func (s *steps) report(p Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p.Done:
		s.seen = append(s.seen, fmt.Sprintf("%d/%d %s done", p.I, p.N, p.Name))
	case p.Elapsed == 0:
		s.seen = append(s.seen, fmt.Sprintf("%d/%d %s", p.I, p.N, p.Name))
	}
	select {
	case s.told <- struct{}{}:
	default:
	}
}

func (s *steps) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

func TestEnsureBuildsOnce(t *testing.T) {
	seen := newSteps()
	b := &Builder{Cache: t.TempDir(), Report: seen.report}
	other := tiny()
	other.name, other.ldflags = "other", "-X main.version=8"
	if _, err := b.ensure(t.Context(), []recipe{tiny()}); err != nil {
		t.Fatal(err)
	}
	files, err := b.ensure(t.Context(), []recipe{tiny(), other})
	if err != nil {
		t.Fatal(err)
	}
	// The second call lacks one of two, hence 1 of 1.
	want := []string{"1/1 tiny", "1/1 tiny done", "1/1 other", "1/1 other done"}
	if diff := cmp.Diff(want, seen.all()); diff != "" {
		t.Errorf("reports: -want, +got:\n%s", diff)
	}
	for name, says := range map[string]string{"tiny": "tiny 8", "small": "small 8"} {
		if diff := cmp.Diff(says, say(t, files[name])); diff != "" {
			t.Errorf("program %s: -want, +got:\n%s", name, diff)
		}
	}
	wantOnly(t, b, 2)
}

// A changed recipe has another folder, so that running programs stay as they are.
func TestEnsureKeepsRecipesApart(t *testing.T) {
	b := &Builder{Cache: t.TempDir()}
	changed := tiny()
	changed.ldflags = "-X main.version=8"
	for says, r := range map[string]recipe{"tiny 7": tiny(), "tiny 8": changed} {
		files, err := b.ensure(t.Context(), []recipe{r})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(says, say(t, files["tiny"])); diff != "" {
			t.Errorf("-want, +got:\n%s", diff)
		}
	}
	wantOnly(t, b, 2)
}

func TestEnsureRepairs(t *testing.T) {
	cases := map[string]struct {
		reason string
		damage func(t *testing.T, dir string)
	}{
		"Interrupted": {
			reason: "the remains of a killed build are removed, and never taken for a program",
			damage: func(t *testing.T, dir string) {
				t.Helper()
				left := filepath.Join(dir+".work-123", "out")
				if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(left, 0o755), os.WriteFile(filepath.Join(left, "tiny"), nil, 0o600)); err != nil {
					t.Fatal(err)
				}
			},
		},
		"Plundered": {
			reason: "a user freed space by deleting one file",
			damage: func(t *testing.T, dir string) {
				t.Helper()
				if err := os.Remove(filepath.Join(dir, "tiny")); err != nil {
					t.Fatal(err)
				}
			},
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			b := &Builder{Cache: t.TempDir()}
			files, err := b.ensure(t.Context(), []recipe{tiny()})
			if err != nil {
				t.Fatal(err)
			}
			tc.damage(t, filepath.Dir(files["tiny"]))
			if files, err = b.ensure(t.Context(), []recipe{tiny()}); err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff("tiny 7", say(t, files["tiny"])); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			wantOnly(t, b, 1)
		})
	}
}

func TestEnsureConcurrently(t *testing.T) {
	cache := t.TempDir()
	var callers sync.WaitGroup
	errs, inodes := make([]error, 4), make([]os.FileInfo, 4)
	for i := range errs {
		callers.Go(func() {
			files, err := (&Builder{Cache: cache}).ensure(t.Context(), []recipe{tiny()})
			if err == nil {
				inodes[i], err = os.Stat(files["tiny"])
			}
			errs[i] = err
		})
	}
	callers.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, info := range inodes[1:] {
		if !os.SameFile(inodes[0], info) {
			t.Error("two callers got different files: it was built twice")
		}
	}
	wantOnly(t, &Builder{Cache: cache}, 1)
}

// A second caller reports that it waits, and stops waiting when it is canceled.
func TestEnsureWaits(t *testing.T) {
	seen := newSteps()
	b := &Builder{Cache: t.TempDir(), Report: seen.report}
	cache, err := b.cache()
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := Lock(t.Context(), tiny().dir(cache)+".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error)
	go func() {
		_, err := b.ensure(ctx, []recipe{tiny()})
		ended <- err
	}()
	const waiting = "1/1 tiny, which another caller builds"
	for !slices.Contains(seen.all(), waiting) {
		select {
		case <-seen.told:
		case <-time.After(time.Minute):
			t.Fatalf("no report %q in %q", waiting, seen.all())
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// A canceled build ends soon and leaves nothing but its lock.
func TestEnsureCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := &Builder{Cache: t.TempDir(), Report: func(Progress) { cancel() }}
	if _, err := b.ensure(ctx, []recipe{tiny()}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, context.Canceled)
	}
	wantOnly(t, b, 0)
}

func TestEnsureRefuses(t *testing.T) {
	broken := tiny()
	broken.main = map[string]string{"main.go": "package main\n\nfunc main() { undefined() }\n"}
	lacking := tiny()
	lacking.files = append(lacking.files, "absent")
	kubernetes := recipe{name: "kubernetes-1.37.99", files: []string{"kubernetes"}, module: "k8s.io/kubernetes@v1.37.99", staging: "v0.37.99"}
	cases := map[string]struct {
		reason string
		recipe recipe
		env    []string
		user   bool // the user can fix it
		says   string
	}{
		"Defect": {
			reason: "a program that does not compile is our mistake, and says where",
			recipe: broken, says: "undefined: undefined",
		},
		"Lacking": {
			reason: "a recipe that does not make all it promises is our mistake",
			recipe: lacking, says: "not all of tiny, absent, small were made",
		},
		"Offline": {
			reason: "no answer from the proxy is the network's fault, not the version's",
			recipe: kubernetes,
			env:    []string{"GOPROXY=off"},
			user:   true,
			says:   "the Go module proxy does not answer",
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			b := &Builder{Cache: t.TempDir(), Env: append(os.Environ(), tc.env...)}
			_, err := b.ensure(t.Context(), []recipe{tc.recipe})
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("%s: got %v, want an error that says %q", tc.reason, err, tc.says)
			}
			var user *Error
			if errors.As(err, &user) != tc.user {
				t.Errorf("%s: got an *Error %t, want %t", tc.reason, !tc.user, tc.user)
			}
			wantOnly(t, b, 0)
		})
	}
}

func TestEnsureWithoutTools(t *testing.T) {
	c := tiny()
	c.main, c.links, c.c = nil, nil, "int main(void) { return 0; }"
	cases := map[string]struct {
		reason string
		tools  []string
		recipe recipe
		says   string
	}{
		"NoGo":  {reason: "all is built with Go", recipe: tiny(), says: "there is no go command: install Go"},
		"NoGCC": {reason: "runc and pause are C", tools: []string{"go"}, recipe: c, says: "there is no gcc: as root, apt-get install gcc"},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			path := t.TempDir()
			for _, tool := range tc.tools {
				if err := os.WriteFile(filepath.Join(path, tool), []byte("#!/bin/sh\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", path)
			_, err := (&Builder{Cache: t.TempDir()}).ensure(t.Context(), []recipe{tc.recipe})
			var user *Error
			if !errors.As(err, &user) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: got %v, want an *Error that says %q", tc.reason, err, tc.says)
			}
		})
	}
}

func TestCacheThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := (&Builder{Cache: file}).ensure(t.Context(), []recipe{tiny()})
	if _, ok := errors.AsType[*Error](err); !ok {
		t.Errorf("got %v, want an *Error", err)
	}
}

// say returns the output of a program.
func say(t *testing.T, program string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program).CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// wantOnly checks that the cache has n built folders and their locks, but no
// remains of a build.
func wantOnly(t *testing.T, b *Builder, n int) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.Cache, "bin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	got := 0
	for _, entry := range entries {
		switch {
		case strings.HasSuffix(entry.Name(), ".lock"):
		case strings.Contains(entry.Name(), ".work-"):
			t.Errorf("the cache has %s left", entry.Name())
		default:
			got++
		}
	}
	if got != n {
		t.Errorf("the cache has %d folders, want %d", got, n)
	}
}
