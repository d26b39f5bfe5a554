package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/lab"
)

// The test program is the command itself when it is called as one, so that the
// processes that it starts are this very code.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		main()
	}
	os.Exit(m.Run())
}

// clusters returns the command on the run folder dir.
func clusters(ctx context.Context, dir string, args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	rest := append([]string{args[0], "--dir", dir}, args[1:]...)
	return exec.CommandContext(ctx, self, rest...)
}

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := clusters(context.Background(), dir, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("clusters %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return string(out)
}

func status(t *testing.T, dir string) lab.Status {
	t.Helper()
	var status lab.Status
	if err := json.Unmarshal([]byte(run(t, dir, "status", "-o", "json")), &status); err != nil {
		t.Fatal(err)
	}
	return status
}

func needRealClusters(t *testing.T) {
	t.Helper()
	if os.Getenv("CLUSTERS_REAL") == "" {
		t.Skip("set CLUSTERS_REAL=1 to start real clusters; it takes two minutes")
	}
	if !lab.Possible() {
		t.Skip("real nodes need root on Linux")
	}
}

// The whole life of a run: up, use, an accident, repair, down, no trace.
func TestLife(t *testing.T) {
	needRealClusters(t)
	dir := filepath.Join(t.TempDir(), "run")
	t.Cleanup(func() { _ = clusters(context.Background(), dir, "down").Run() })
	run(t, dir, "up")
	up := status(t, dir)
	if !up.Running || up.Simulated || !up.Clusters["remote"].Nodes[0].Ready {
		t.Fatalf("up, but not usable: %+v", up)
	}

	run(t, dir, "up")
	again := status(t, dir)
	for i, component := range again.Components {
		if component != up.Components[i] {
			t.Errorf("up on running clusters changed %+v to %+v", up.Components[i], component)
		}
	}

	out, err := clusters(context.Background(), dir, "exec", "local", "--", "sh", "-c", "echo inside; exit 7").Output()
	if exit := new(exec.ExitError); !asExit(err, &exit) || exit.ExitCode() != 7 || string(out) != "inside\n" {
		t.Errorf("exec: %q %v, want inside and exit code 7", out, err)
	}
	for _, component := range up.Components {
		if component.Name == "remote-1-containerd" || component.Name == "link" {
			if err := syscall.Kill(component.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	if status(t, dir).Running {
		t.Error("two components are dead, but status does not say so")
	}
	run(t, dir, "up")
	if !status(t, dir).Running {
		t.Error("up did not repair the dead components")
	}
	run(t, dir, "down")
	checkNoTrace(t, dir, filepath.Base(up.Clusters["local"].NetworkNamespace))
}

// A command that is killed half-way, and whose state is lost, leaves nothing that down
// does not find.
func TestDownAfterKill(t *testing.T) {
	needRealClusters(t)
	dir := filepath.Join(t.TempDir(), "run")
	t.Cleanup(func() { _ = clusters(context.Background(), dir, "down").Run() })
	cmd := clusters(context.Background(), dir, "up")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Kubelets are the last programs that hold much.
	seen, buffer := "", make([]byte, 4096)
	for !strings.Contains(seen, "kubelet") {
		n, err := stderr.Read(buffer)
		if seen += string(buffer[:n]); err != nil {
			t.Fatalf("up ended early: %v\n%s", err, seen)
		}
	}
	namespace := filepath.Base(status(t, dir).Clusters["local"].NetworkNamespace)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := os.Remove(filepath.Join(dir, "state.json")); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "down")
	checkNoTrace(t, dir, namespace)
}

func asExit(err error, target **exec.ExitError) bool {
	return errors.As(err, target)
}

func checkNoTrace(t *testing.T, dir, namespace string) {
	t.Helper()
	id := strings.TrimSuffix(namespace, "-local")
	for _, pattern := range []string{dir, "/run/netns/" + id + "*", "/sys/fs/cgroup/" + id, "/sys/fs/cgroup/*/" + id} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), dir) || strings.Contains(string(mounts), id) {
		t.Errorf("a mount is left behind: %v", err)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range commands {
		command, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(command), dir) {
			t.Errorf("left running: %s", strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
}

// Simulated clusters need no rights: they are tested by the same command.
func TestSimulated(t *testing.T) {
	if os.Getenv("CLUSTERS_REAL") == "" {
		t.Skip("set CLUSTERS_REAL=1 to start clusters")
	}
	dir := filepath.Join(t.TempDir(), "run")
	t.Cleanup(func() { _ = clusters(context.Background(), dir, "down").Run() })
	out := run(t, dir, "up", "--simulated", "--remote-nodes", "3")
	if !strings.Contains(out, lab.SimulatedNotice) {
		t.Errorf("the output does not say %q:\n%s", lab.SimulatedNotice, out)
	}
	if got := status(t, dir); !got.Running || got.Notice != lab.SimulatedNotice || len(got.Clusters["remote"].Nodes) != 3 {
		t.Errorf("status: %+v", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := clusters(ctx, dir, "link", "--latency", "10ms").Run(); err != nil {
		t.Error(err)
	}
	run(t, dir, "down")
	checkNoTrace(t, dir, "no-namespace")
}
