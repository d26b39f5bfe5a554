//go:build e2e

package env

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AKD is an akd that serves a node, which a test may stop and start again.
type AKD struct {
	// Node is the name of the node that it serves.
	Node string
	// Log is the file with everything that it has logged.
	Log string

	env    *Env
	args   []string
	cmd    *exec.Cmd
	exited chan error
	// started is when the akd that runs now, or ran last, was started.
	started time.Time
}

// StartAKD starts akd for a node in the local cluster's network, waits until
// the node is Ready, and stops akd when the test ends.
func (e *Env) StartAKD(t testing.TB, node string, args ...string) *AKD {
	t.Helper()
	d := e.LaunchAKD(t, node, args...)
	d.WaitReady(t)
	return d
}

// LaunchAKD is StartAKD without waiting for anything.
func (e *Env) LaunchAKD(t testing.TB, node string, args ...string) *AKD {
	t.Helper()
	log := fmt.Sprintf("akd-%s-%s.log", node, strings.ReplaceAll(t.Name(), "/", "-"))
	d := &AKD{Node: node, Log: filepath.Join(e.Dir, "logs", log), env: e, args: append([]string{
		"--node-name", node,
		"--local-kubeconfig", e.AKDKubeconfig("local"),
		"--remote-kubeconfig", e.remoteKubeconfig(t, node, args),
		"--node-address", e.Address, "--kubelet-api-address", e.Address,
	}, args...)}
	d.Start(t)
	t.Cleanup(func() {
		d.Stop(t, syscall.SIGTERM)
		if t.Failed() {
			t.Logf("akd's log is %s; its end:\n%s", d.Log, tail(d.Log))
		}
	})
	return d
}

// remoteKubeconfig is an administrator's, or, if E2E_TENANT is set, that of a
// tenant with the rights that the tests' nodes need: all of them then run as
// users run akd. A test that names a kubeconfig, if only an empty one, has installed
// the rights of its node itself: others would replace them.
func (e *Env) remoteKubeconfig(t testing.TB, node string, args []string) string {
	t.Helper()
	named := slices.ContainsFunc(args, func(arg string) bool {
		flag, _, _ := strings.Cut(arg, "=")
		return flag == "--remote-kubeconfig"
	})
	if os.Getenv("E2E_TENANT") == "" || named {
		return e.AKDKubeconfig("remote")
	}
	values := e.MirroringValues(node)
	values.ReadNodes, values.ReadMetrics = true, true
	return e.InstallTenant(t, values).Kubeconfig
}

// Start starts akd, again after Stop, too.
func (d *AKD) Start(t testing.TB) {
	t.Helper()
	d.StartAs(t, d.env.akd)
}

// StartAs is Start with a command in place of akd's own, which gets akd's flags.
func (d *AKD) StartAs(t testing.TB, program ...string) {
	t.Helper()
	log, err := os.OpenFile(d.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	d.cmd, d.exited = d.env.command(slices.Concat([]string{"exec", "local", "--"}, program, d.args)...), make(chan error, 1)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.started = time.Now()
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func(cmd *exec.Cmd, exited chan<- error) {
		exited <- cmd.Wait()
		_ = log.Close()
	}(d.cmd, d.exited)
}

// WaitReady waits until the node is Ready in the local cluster.
func (d *AKD) WaitReady(t testing.TB) {
	t.Helper()
	d.WaitReadySince(t, d.started) // a condition outlives the akd that set it
}

// WaitReadySince waits until akd has reported, at that time or later, that the node
// is Ready.
func (d *AKD) WaitReadySince(t testing.TB, since time.Time) {
	t.Helper()
	Eventually(t, "node "+d.Node+" is Ready", func(ctx context.Context) error {
		found, err := d.env.Local.CoreV1().Nodes().Get(ctx, d.Node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range found.Status.Conditions {
			fresh := !condition.LastHeartbeatTime.Time.Before(since.Truncate(time.Second))
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue && fresh {
				return nil
			}
		}
		return errors.New("not Ready")
	})
}

// LogLines returns what akd has logged so far, by line.
func (d *AKD) LogLines(t testing.TB) []string {
	t.Helper()
	content, err := os.ReadFile(d.Log)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(strings.Lines(string(content)))
}

// Stop sends the signal and waits until akd has ended. It may be called twice.
func (d *AKD) Stop(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(signal)
	select {
	case <-d.exited:
	case <-time.After(Timeout):
		t.Errorf("akd did not end on %s", signal)
		_ = d.cmd.Process.Kill()
		<-d.exited
	}
	d.cmd = nil
}

// Signal sends a signal that does not end akd, such as SIGSTOP and SIGCONT.
func (d *AKD) Signal(t testing.TB, what syscall.Signal) {
	t.Helper()
	signal(t, d.cmd.Process.Pid, what)
}

// Stopped reports whether Stop was called last, and not Start.
func (d *AKD) Stopped() bool { return d.cmd == nil }

// HasExited reports whether akd has ended by itself.
func (d *AKD) HasExited() bool { return len(d.exited) > 0 }

// WaitExit waits until akd has ended by itself, with that exit code and a log
// that contains the reason.
func (d *AKD) WaitExit(t testing.TB, code int, reason string) {
	t.Helper()
	exited := d.exited
	Eventually(t, "akd ends", func(context.Context) error {
		select {
		case err := <-exited:
			exited <- err // for Stop
			if got := ExitCode(err); got != code {
				t.Errorf("akd ended with %d, want %d", got, code)
			}
			return nil
		default:
			return errors.New("it is still running")
		}
	})
	if log := tail(d.Log); !strings.Contains(log, reason) {
		t.Errorf("akd's log does not contain %q:\n%s", reason, log)
	}
}

// tail returns the last 8 KiB of a file, or why it cannot be read.
func tail(path string) string {
	const most = 8 << 10
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-most):])
}
