package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/lab"
)

func TestMistakes(t *testing.T) {
	image := func(args ...string) []string {
		return append([]string{"build-image", "x.tar", "--tag", "docker.io/library/x:1"}, args...)
	}
	cases := map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"UnknownCommand":   {"a typo", []string{"upp"}, "unknown command"},
		"UnknownFlag":      {"a typo", []string{"up", "--nodes", "3"}, "unknown flag"},
		"OldVersion":       {"it does not build any more", []string{"up", "--version", "1.20.0"}, "1.20.0"},
		"NotAVersion":      {"a word is no version", []string{"up", "--remote-version", "latest"}, "latest"},
		"NoRemoteNode":     {"nothing could run", []string{"up", "--remote-nodes", "0"}, "1 to 100"},
		"TooManyNodes":     {"addresses end", []string{"up", "--simulated=true", "--local-nodes", "100000"}, "0 to 5000"},
		"SimulatedVolumes": {"nothing mounts them", []string{"up", "--simulated=true", "--csi"}, "--csi"},
		"OnePortTwice":     {"two servers, two ports", []string{"up", "--local-port", "7000", "--remote-port", "7000"}, "both 7000"},
		"PortTooBig":       {"there is none", []string{"up", "--local-port", "70000"}, "0 to 65535"},
		"NoFolders":        {"kwok has no files", []string{"up", "--simulated=true", "--local-path"}, "--local-path needs real nodes"},
		"LinkNothing":      {"it would do nothing", []string{"link"}, "one of"},
		"LinkEverything":   {"which one?", []string{"link", "--cut", "--restore"}, "one of"},
		"LinkBackInTime":   {"not possible yet", []string{"link", "--latency=-1s"}, "negative"},
		"NoSuchCluster":    {"there are two", []string{"kubectl", "mars", "get", "pods"}, "mars"},
		"ExecNothing":      {"nothing to run", []string{"exec", "local", "--"}, "no command"},
		"NothingRuns":      {"say what to do", []string{"kubeconfig", "local"}, "run clusters up"},
		"LogsOfNothing":    {"say what to do", []string{"logs", "etcd"}, "run clusters up"},
		"CrashNothing":     {"say what to do", []string{"crash", "remote-1"}, "run clusters up"},
		"LoadIntoNothing":  {"say what to do", []string{"load-image", "x.tar"}, "run clusters up"},
		"ImageOfNothing":   {"it would be empty", image(), "--add"},
		"ImageOfNoFile":    {"a typo", image("--add", "missing:/x"), "missing"},
		"ImageToNowhere":   {"images have no current folder", image("--add", "cli.go:x"), "absolute"},
		"ImageForNothing":  {"a file of each platform", image("--platform", "linux/arm64", "--add", "bin/{platform}:/x"), "bin/linux/arm64"},
		"LabelOfArchive":   {"nobody would read it", image("--label", "a=b", "--add", "cli.go:/x"), "--platform"},
		"StatusForMachine": {"only json is understood", []string{"status", "-o", "yaml"}, "yaml"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			a := &app{progress: &progress{out: &bytes.Buffer{}, now: time.Now, began: time.Now()}}
			root := a.root()
			root.SetArgs(append([]string{"--dir", dir}, tc.args...))
			if tc.args[0] == "kubectl" || tc.args[0] == "exec" {
				root.SetArgs(append([]string{tc.args[0], "--dir", dir}, tc.args[1:]...))
			}
			err := root.Execute()
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want an error with %q", tc.reason, err, tc.want)
			}
			if code := exitCode(err); code != exitMistake {
				t.Errorf("%s: exit code %d, want %d", tc.reason, code, exitMistake)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a mistake made the run folder: %v", err)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	cases := map[string]struct {
		reason string
		err    error
		want   int
	}{
		"Done":     {"nothing is wrong", nil, 0},
		"Failure":  {"no one knows yet", errors.New("boom"), 1},
		"DiskFull": {"the user can free space", fmt.Errorf("write: %w", syscall.ENOSPC), 2},
		"Mistake":  {"wrapped or not", fmt.Errorf("up: %w", lab.Mistake("do this")), 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := exitCode(tc.err); got != tc.want {
				t.Errorf("%s: got %d, want %d", tc.reason, got, tc.want)
			}
		})
	}
}

func TestProgressWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := &progress{out: &out, now: func() time.Time { return now }, began: now}
	p.step("first")
	p.update("a detail that comes too soon")
	now = now.Add(time.Minute)
	p.update("a sign of life")
	want := "  0.0s  first\n 60.0s  a sign of life\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
