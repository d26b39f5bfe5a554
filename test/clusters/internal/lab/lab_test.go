package lab

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newLab(t *testing.T, dir string) *Lab {
	t.Helper()
	l, err := New(dir, Environment{Self: "/nonexistent", Now: time.Now, Report: func(string, ...any) {}, Toolchain: noTools{}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// noTools is a toolchain that always fails.
type noTools struct{}

func (noTools) Programs(context.Context, string, bool) (map[string]string, error) {
	return nil, errors.New("no tools here")
}

func (noTools) Sidecars(context.Context) (map[string]string, error) {
	return nil, errors.New("no tools here")
}

func (noTools) LocalPath(context.Context) (string, error) { return "", errors.New("no tools here") }

func (noTools) Images(context.Context, map[string]string) (Images, error) {
	return Images{}, errors.New("no images here")
}

// All paths of one folder must give one identity, by which Down finds everything
// that Up has made.
func TestIdentity(t *testing.T) {
	base := t.TempDir()
	folder := filepath.Join(base, "real")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	linked := filepath.Join(base, "link")
	if err := os.Symlink(folder, linked); err != nil {
		t.Fatal(err)
	}
	want := newLab(t, filepath.Join(folder, "run"))
	cases := map[string]struct {
		reason string
		dir    string
		same   bool
	}{
		"ThroughLink": {"a link is another name", filepath.Join(linked, "run"), true},
		"Unclean":     {"so is a detour", filepath.Join(folder, "x") + "/../run/", true},
		"Other":       {"another folder is another run", filepath.Join(folder, "run2"), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := newLab(t, tc.dir); (got.id == want.id) != tc.same {
				t.Errorf("%s: %s and %s", tc.reason, want.id, got.id)
			}
		})
	}
	if err := os.MkdirAll(want.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := newLab(t, want.Dir); got.id != want.id {
		t.Errorf("the identity changes when the folder is made: %s and %s", want.id, got.id)
	}
}

func TestUpRefuses(t *testing.T) {
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	port := occupied.Addr().(*net.TCPAddr).Port
	cases := map[string]struct {
		reason string
		files  map[string]string
		plan   Plan
		want   string
	}{
		"ForeignFolder": {
			reason: "Down would leave it, and the user may have chosen the folder by mistake",
			files:  map[string]string{"thesis.txt": "precious"},
			want:   "thesis.txt",
		},
		"OccupiedPort": {
			reason: "better now than after a minute",
			plan:   Plan{Simulated: true, LocalPort: port},
			want:   fmt.Sprintf("port %d is in use", port),
		},
		"DamagedState": {
			reason: "guessing would start everything twice",
			files:  map[string]string{"state.json": "{"},
			want:   "run clusters down",
		},
		"OtherPlan": {
			reason: "running clusters do not change their version",
			files:  map[string]string{"state.json": `{"plan":{"localVersion":"1.36.3"},"boot":"` + bootID() + `"}`},
			plan:   Plan{LocalVersion: "1.37.1"},
			want:   "already runs local 1.36.3",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range tc.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := newLab(t, dir).Up(context.Background(), tc.plan)
			var mistake Mistake
			if !errors.As(err, &mistake) || !strings.Contains(mistake.Error(), tc.want) {
				t.Errorf("%s: got %v, want a mistake with %q", tc.reason, err, tc.want)
			}
			for file, text := range tc.files {
				if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != text {
					t.Errorf("%s was touched: %q, %v", file, got, err)
				}
			}
		})
	}
}

func TestCrashMistakes(t *testing.T) {
	cases := map[string]struct {
		reason string
		state  string
		want   string
	}{
		"NotReady":  {"up may be starting it", `{}`, "run clusters up"},
		"Unknown":   {"say which there are", `{"ready": true, "plan": {"localNodes": 1, "remoteNodes": 2}}`, "[local-1 remote-1 remote-2]"},
		"Simulated": {"kwok would go on", `{"ready": true, "plan": {"simulated": true}}`, "with real nodes"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(tc.state), 0o600); err != nil {
				t.Fatal(err)
			}
			err := newLab(t, dir).Crash(context.Background(), "remote-3")
			if _, ok := errors.AsType[Mistake](err); !ok || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want a mistake with %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestFailedUpLeavesNoFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := newLab(t, dir).Up(context.Background(), Plan{Simulated: true}); err == nil {
		t.Fatal("it came up without tools")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder stays: %v", err)
	}
}

// Down removes its own files only, and leaves others in the folder alone.
func TestDownSparesForeignFiles(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"state.json", "thesis.txt"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := newLab(t, dir).Down(context.Background()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "thesis.txt" {
		t.Errorf("left %v, %v, want thesis.txt alone", entries, err)
	}
}

func TestDownOfNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "never", "made")
	if err := newLab(t, dir).Down(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("down made the folder: %v", err)
	}
}

func TestLockIsExclusive(t *testing.T) {
	l := newLab(t, filepath.Join(t.TempDir(), "run"))
	unlock, err := l.lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	waiting := make(chan struct{})
	l.env.Report = func(string, ...any) { close(waiting) }
	second := make(chan error, 1)
	go func() { _, err := l.lock(ctx); second <- err }()
	<-waiting
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("the second lock: %v, want to have waited", err)
	}
	unlock()
	unlock, err = l.lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestCheckArchive(t *testing.T) {
	cases := map[string]struct {
		reason  string
		entries []string
		text    string
		want    string
	}{
		"Docker":  {reason: "docker save writes manifest.json", entries: []string{"abc/layer.tar", "manifest.json"}},
		"OCI":     {reason: "an OCI layout has index.json", entries: []string{"oci-layout", "./index.json"}},
		"Other":   {reason: "any other tar is no image", entries: []string{"readme"}, want: "neither manifest.json nor index.json"},
		"Garbage": {reason: "nor is any other file", text: "not a tar, not at all" + strings.Repeat(".", 600), want: "not a plain tar"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image.tar")
			file, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			archive := tar.NewWriter(file)
			for _, entry := range tc.entries {
				if err := archive.WriteHeader(&tar.Header{Name: entry, Mode: 0o644}); err != nil {
					t.Fatal(err)
				}
			}
			if tc.text != "" {
				_, err = file.WriteString(tc.text)
			} else {
				err = archive.Close()
			}
			if err := errors.Join(err, file.Close()); err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := checkArchive(path); err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tc.want) || (tc.want == "") != (got == "") {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

func TestAddressesDoNotMeet(t *testing.T) {
	state := State{LinkPort: 6443}
	seen := map[string]string{}
	for name, got := range map[string]string{
		"local API": address(Local, apiHost).String(), "remote API": address(Remote, apiHost).String(),
		"akd": state.akdAddress().String(), "link": state.linkAddress().Addr().String(),
		"first local node": address(Local, firstNode).String(), "last local node": address(Local, firstNode+MaxNodes-1).String(),
	} {
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s are both %s", name, other, got)
		}
		seen[got] = name
	}
	if podRange(Local).Overlaps(podRange(Remote)) || serviceRange(Local).Overlaps(serviceRange(Remote)) {
		t.Error("the clusters' ranges overlap")
	}
	if diff := cmp.Diff("172.18.1.5", state.akdAddress().String()); diff != "" {
		t.Errorf("akd's address is documented: -want +got:\n%s", diff)
	}
}

func TestLimits(t *testing.T) {
	cases := map[string]struct {
		reason string
		err    error
		want   string
	}{
		"FewNodes":   {reason: "the kernel's default is enough for them", err: enoughWatches("128\n", 0, 2)},
		"ManyNodes":  {reason: "it would fail much later", err: enoughWatches("128\n", 0, 50), want: "sysctl -w fs.inotify.max_user_instances="},
		"OtherLabs":  {reason: "other clusters have taken theirs", err: enoughWatches("128\n", 100, 2), want: "100 are in use"},
		"EnoughDisk": {reason: "a byte is there", err: enoughDisk(t.TempDir(), 1)},
		"DiskFull":   {reason: "no disk has this much", err: enoughDisk(t.TempDir(), 1<<60), want: "free some space"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if (tc.err != nil) != (tc.want != "") || tc.err != nil && !strings.Contains(tc.err.Error(), tc.want) {
				t.Errorf("%s: got %v, want %q", tc.reason, tc.err, tc.want)
			}
		})
	}
}
