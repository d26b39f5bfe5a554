//go:build e2e

package env

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// StartVerifyingServer starts another kube-apiserver of the local cluster, as a
// cluster with three of them has, and returns a kubectl that uses this one. It
// alone verifies kubelets: akd's are self-signed in most tests.
func (e *Env) StartVerifyingServer(t testing.TB) (kubectl func(args ...string) (output string, err error)) {
	t.Helper()
	const port = "6444"
	argv := e.commandLine(t, "local-kube-apiserver")
	argv = slices.DeleteFunc(argv, func(arg string) bool { return strings.HasPrefix(arg, "--secure-port=") })
	ca := ""
	for _, arg := range argv {
		if file, ok := strings.CutPrefix(arg, "--client-ca-file="); ok {
			ca = file // it signs kubelets' certificates, too
		}
	}
	argv = append(argv, "--secure-port="+port, "--endpoint-reconciler-type=none", "--kubelet-certificate-authority="+ca)
	server := e.ExecLocal(t.Context(), argv...)
	server.Dir = t.TempDir()
	run := Start(t, server)
	program := filepath.Join(filepath.Dir(argv[0]), "kubectl")
	kubectl = func(args ...string) (string, error) {
		out, err := e.ExecLocal(t.Context(), append([]string{
			program, "--kubeconfig", e.AKDKubeconfig("local"), "--server", "https://" + e.Server + ":" + port,
		}, args...)...).CombinedOutput()
		return string(out), err
	}
	Eventually(t, "the second API server is ready", func(context.Context) error {
		if out, err := kubectl("get", "--raw", "/readyz"); err != nil {
			log := run.Transcript.String()
			return fmt.Errorf("%s %s", out, log[max(0, len(log)-1024):])
		}
		return nil
	})
	return kubectl
}

// commandLine is that of a component of the clusters.
func (e *Env) commandLine(t testing.TB, name string) []string {
	t.Helper()
	found, err := e.status()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", found.pid(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimRight(string(content), "\x00"), "\x00")
}

// pid is that of the process of a component.
func (s status) pid(t testing.TB, name string) int {
	t.Helper()
	for _, component := range s.Components {
		if component.Name == name {
			return component.PID
		}
	}
	t.Fatalf("the clusters have no component %s", name)
	return 0
}
