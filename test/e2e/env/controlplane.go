//go:build e2e

package env

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// UpAlone starts a pair of clusters for one test, which may break them, and
// removes it when the test ends. Options are those of `clusters up`.
func UpAlone(t testing.TB, options ...string) *Env {
	t.Helper()
	parent, err := os.MkdirTemp("", "ak") //nolint:usetesting // a short name: paths of sockets are limited to 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	return UpAnew(t, filepath.Join(parent, "c"), options...)
}

// UpAnew is UpAlone in a run folder whose clusters, which an interrupted test may
// have left, are removed first.
func UpAnew(t testing.TB, dir string, options ...string) *Env {
	t.Helper()
	half := &Env{Dir: dir, clusters: filepath.Join("..", "..", "bin", "clusters")}
	down := func() {
		if err := half.Down(); err != nil {
			t.Error(err)
		}
	}
	down()
	t.Cleanup(down) // of what a failed Up leaves, too
	e, err := Up(dir, options...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Repair starts all components of the clusters that have ended, and waits until
// both clusters are usable. Like a kubelet, it starts one again that ends meanwhile: a
// scheduler ends itself if it has assumed what is not.
func (e *Env) Repair(t testing.TB) {
	t.Helper()
	const most = 5
	for range most {
		out, err := e.command("up").CombinedOutput()
		if err == nil {
			return
		}
		if len(e.Ended(t)) == 0 {
			t.Fatalf("clusters up: %v\n%s", err, out)
		}
		t.Logf("clusters up: %v\n%s", err, out)
	}
	t.Fatalf("after %d repairs, these have ended: %s", most, strings.Join(e.Ended(t), ", "))
}

// Ended names the components of the clusters that have ended.
func (e *Env) Ended(t testing.TB) (names []string) {
	t.Helper()
	found, err := e.status()
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range found.Components {
		if !component.Alive {
			names = append(names, component.Name)
		}
	}
	return names
}

// AuditLog is the file in which the API server of one side logs who writes what, if the
// clusters are up with --audit.
func (e *Env) AuditLog(side string) string { return filepath.Join(e.Dir, "logs", side+"-audit.log") }

// Kill ends components of the clusters, such as local-kube-apiserver, as a crash
// does.
func (e *Env) Kill(t testing.TB, components ...string) {
	t.Helper()
	found, err := e.status()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range components {
		pid := found.pid(t, name)
		signal(t, pid, syscall.SIGKILL)
		Eventually(t, name+" has ended", func(context.Context) error {
			if states := threadStates(pid); strings.Trim(states, "ZX") != "" {
				return fmt.Errorf("its threads are in the states %s", states)
			}
			return nil
		})
	}
}

// Crash ends all processes of a cluster's own node at once, as a power failure does. Repair
// boots it.
func (e *Env) Crash(t testing.TB, node string) {
	t.Helper()
	Run(t, e.commandContext(t.Context(), "crash", node))
}

// Freeze suspends a component, so that its clients get no answer, until the
// returned function is called or the test ends.
func (e *Env) Freeze(t testing.TB, component string) (thaw func()) {
	t.Helper()
	found, err := e.status()
	if err != nil {
		t.Fatal(err)
	}
	pid := found.pid(t, component)
	frozen := true
	thaw = func() {
		if frozen {
			frozen = false
			signal(t, pid, syscall.SIGCONT)
		}
	}
	t.Cleanup(thaw)
	signal(t, pid, syscall.SIGSTOP)
	Eventually(t, component+" is suspended", func(context.Context) error {
		if states := threadStates(pid); strings.Trim(states, "T") != "" {
			return fmt.Errorf("its threads are in the states %s", states)
		}
		return nil
	})
	return thaw
}

// FillEtcd makes the etcd of one side refuse what needs space, as it does when its
// quota is used up, until the returned function is called.
// https://etcd.io/docs/v3.6/op-guide/maintenance/#space-quota
func (e *Env) FillEtcd(t testing.TB, side string) (empty func()) {
	t.Helper()
	pki := filepath.Join(e.Dir, side, "pki")
	alarm := func(action string) {
		Run(t, e.command("exec", side, "--", "curl", "-sS", "--fail", "--max-time", "30",
			"--cacert", filepath.Join(pki, "etcd-ca.crt"),
			"--cert", filepath.Join(pki, "etcd-client.crt"), "--key", filepath.Join(pki, "etcd-client.key"),
			"--data", fmt.Sprintf(`{"action": %q, "alarm": "NOSPACE"}`, action), "https://127.0.0.1:2379/v3/maintenance/alarm"))
	}
	alarm("ACTIVATE")
	return func() { alarm("DEACTIVATE") }
}

func signal(t testing.TB, pid int, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatalf("%s to process %d: %v", signal, pid, err)
	}
}

// threadStates has one letter per thread of a process, as in proc(5), and is empty
// if there is no process.
func threadStates(pid int) string {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	var states strings.Builder
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		// The state follows the name, which is in parentheses and may contain some.
		if at := bytes.LastIndexByte(content, ')') + 2; at < len(content) {
			states.WriteByte(content[at])
		}
	}
	return states.String()
}

// Backup is what the etcd of one cluster contained at some time.
type Backup struct {
	env  *Env
	side string
	dir  string
}

// BackUp copies the files of a cluster's etcd. The copy is what a crash at that
// moment would have left, from which etcd recovers.
func (e *Env) BackUp(t testing.TB, side string) *Backup {
	t.Helper()
	b := &Backup{env: e, side: side, dir: filepath.Join(t.TempDir(), "etcd")}
	thaw := e.Freeze(t, side+"-etcd")
	copyDir(t, b.data(), b.dir)
	thaw()
	return b
}

// Restore puts the backup back, as administrators do after a disaster: everything
// that has cached the cluster's objects is restarted with it, but not akd.
// https://kubernetes.io/docs/tasks/administer-cluster/configure-upgrade-etcd/#restoring-an-etcd-cluster
func (b *Backup) Restore(t testing.TB) {
	t.Helper()
	b.env.withoutEtcd(t, b.side, func() { copyDir(t, b.dir, b.data()) })
}

func (b *Backup) data() string { return b.env.etcdData(b.side) }

// Wipe removes the files of a cluster's etcd, and everything starts again but akd: the
// cluster is another one then, with another UID. Its nodes, addresses and certificates are
// the former ones.
func (e *Env) Wipe(t testing.TB, side string) {
	t.Helper()
	e.withoutEtcd(t, side, func() {})
	if side != "local" {
		return
	}
	former := e.ClusterUID
	if err := e.identify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e.ClusterUID == former {
		t.Fatalf("the cluster still has UID %s", former)
	}
}

// withoutEtcd stops what has cached the objects of a cluster, does something while there are
// no files of its etcd, and starts everything again.
func (e *Env) withoutEtcd(t testing.TB, side string, do func()) {
	t.Helper()
	found, err := e.status()
	if err != nil {
		t.Fatal(err)
	}
	var caching []string
	for _, component := range found.Components {
		program := strings.TrimPrefix(component.Name, side+"-")
		if program != component.Name && !strings.HasSuffix(program, "containerd") && program != "forward" {
			caching = append(caching, component.Name)
		}
	}
	e.Kill(t, caching...)
	if err := os.RemoveAll(e.etcdData(side)); err != nil {
		t.Fatal(err)
	}
	do()
	e.Repair(t)
}

func (e *Env) etcdData(side string) string { return filepath.Join(e.Dir, side, "etcd") }

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	Run(t, exec.CommandContext(t.Context(), "cp", "-a", from, to))
}

// PassRevisions makes a cluster's revision grow by n.
func (e *Env) PassRevisions(t testing.TB, side string, n int) {
	t.Helper()
	client := e.Local
	if side == "remote" {
		client = e.Remote
	}
	counter := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "revisions-"}}
	counter, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), counter, metav1.CreateOptions{})
	for i := 1; err == nil && i < n; i++ {
		counter.Data = map[string]string{"revisions": fmt.Sprint(i)}
		counter, err = client.CoreV1().ConfigMaps("default").Update(t.Context(), counter, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}
