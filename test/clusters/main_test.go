package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
		t.Skip("set CLUSTERS_REAL=1 to start real clusters; it takes minutes")
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

// starts writes a line into a volume at each start of its pod.
const starts = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: db}}}
      containers:
      - name: db
        image: busybox:1.36
        imagePullPolicy: Never
        command: [sh, -c, 'echo $HOSTNAME started >> /data/log; sleep 3600']
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
`

// Volumes of the default class outlive their pods, on each node, and end with their claims.
// All of their files are in the run folder.
func TestVolumes(t *testing.T) {
	needRealClusters(t)
	dir := filepath.Join(t.TempDir(), "run")
	t.Cleanup(func() { _ = clusters(context.Background(), dir, "down").Run() })
	run(t, dir, "up", "--local-nodes", "0", "--remote-nodes", "2", "--local-path")
	namespace := filepath.Base(status(t, dir).Clusters["local"].NetworkNamespace)
	manifest := filepath.Join(t.TempDir(), "starts.yaml")
	if err := os.WriteFile(manifest, []byte(starts), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, dir, "apply", "-f", manifest)
	kubectl(t, dir, "rollout", "status", "statefulset/db", "--timeout=3m")
	kubectl(t, dir, "delete", "pods", "-l", "app=db")
	kubectl(t, dir, "rollout", "status", "statefulset/db", "--timeout=3m")
	nodes := strings.Fields(kubectl(t, dir, "get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}"))
	if slices.Sort(nodes); !slices.Equal(nodes, []string{"remote-1", "remote-2"}) {
		t.Errorf("the pods are on %q, want one on each node", nodes)
	}
	for _, pod := range []string{"db-0", "db-1"} {
		if got, want := kubectl(t, dir, "exec", pod, "--", "cat", "/data/log"), strings.Repeat(pod+" started\n", 2); got != want {
			t.Errorf("the volume of %s contains %q, want %q", pod, got, want)
		}
	}
	wantVolumes(t, dir, 2)
	kubectl(t, dir, "delete", "statefulset,persistentvolumeclaims", "--all", "--timeout=3m")
	kubectl(t, dir, "wait", "--for=delete", "persistentvolumes", "--all", "--timeout=3m")
	wantVolumes(t, dir, 0)

	run(t, dir, "down")
	checkNoTrace(t, dir, namespace)
	if _, err := os.Stat("/var/lib/local-path"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder of the machine itself: %v", err)
	}
}

// kubectl calls that of the remote cluster.
func kubectl(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := clusters(t.Context(), dir, "kubectl")
	cmd.Args = append([]string{cmd.Args[0], "kubectl", "--dir", dir, "remote"}, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// wantVolumes checks how many folders the remote nodes have for volumes.
func wantVolumes(t *testing.T, dir string, want int) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "remote", "nodes", "*", "local-path", "*"))
	if err != nil || len(found) != want {
		t.Errorf("folders %v (%v), want %d", found, err, want)
	}
}

// Volumes are there for pods, grow under them, outlive them and a reboot of their
// node, and follow them if their class says so. Nothing is left of them.
func TestStorageDriver(t *testing.T) {
	needRealClusters(t)
	dir := filepath.Join(t.TempDir(), "run")
	t.Cleanup(func() { _ = clusters(context.Background(), dir, "down").Run() })
	run(t, dir, "up", "--csi", "--remote-nodes", "2")
	kubectl := func(args ...string) string {
		return strings.TrimSpace(run(t, dir, append([]string{"kubectl", "remote"}, args...)...))
	}
	kubectl("apply", "-f", "testdata/storage-driver.yaml")
	kubectl("rollout", "status", "statefulset/keeper", "--timeout=3m")
	kubectl("rollout", "status", "deployment/mover", "--timeout=3m")
	kubectl("wait", "--for=jsonpath={.status.phase}=Bound", "pvc/early", "--timeout=1m")
	for _, claim := range []string{"folder-keeper-0", "device-keeper-0"} {
		kubectl("patch", "pvc", claim, "--patch", `{"spec": {"resources": {"requests": {"storage": "5Mi"}}}}`)
		kubectl("wait", "--for=jsonpath={.status.capacity.storage}=5Mi", "pvc/"+claim, "--timeout=1m")
	}
	const inPod = "echo content | dd of=/dev/volume conv=fsync 2>/dev/null; wc -c </dev/volume"
	if got := kubectl("exec", "keeper-0", "--", "sh", "-c", inPod); got != "5242880" {
		t.Errorf("the device has %s bytes", got)
	}

	first := kubectl("get", "pods", "--selector=app=mover", "--output=jsonpath={.items[0].spec.nodeName}")
	kubectl("cordon", first)
	kubectl("delete", "pods", "--selector=app=mover")
	kubectl("rollout", "status", "deployment/mover", "--timeout=3m")
	nodes := strings.Fields(kubectl("exec", "deployment/mover", "--", "cat", "/folder/nodes"))
	if len(nodes) != 2 || nodes[0] != first || nodes[1] == first {
		t.Errorf("the volume that moves was on %v", nodes)
	}

	node := kubectl("get", "pod", "keeper-0", "--output=jsonpath={.spec.nodeName}")
	run(t, dir, "crash", node)
	for _, component := range status(t, dir).Components {
		if of := strings.HasPrefix(component.Name, node+"-"); component.Alive == of {
			t.Errorf("after the crash of %s, %s is alive: %t", node, component.Name, component.Alive)
		}
	}
	run(t, dir, "up")
	kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/keeper-0", "--timeout=2m")
	kubectl("wait", "--for=condition=Ready", "pod/keeper-0", "--timeout=2m")
	got := strings.Fields(kubectl("exec", "keeper-0", "--", "sh", "-c", "cat /folder/starts; head -n 1 /dev/volume"))
	if strings.Join(got, " ") != "keeper-0 keeper-0 content" {
		t.Errorf("after a reboot the volumes hold %v", got)
	}
	namespace := filepath.Base(status(t, dir).Clusters["local"].NetworkNamespace)
	run(t, dir, "down")
	checkNoTrace(t, dir, namespace)
	devices, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, device := range devices {
		// A device that a kubelet has put on another one keeps that one as well.
		if file, err := os.ReadFile(device); err == nil && strings.Contains(string(file), dir) {
			t.Errorf("left behind: %s of %s", device, file)
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
