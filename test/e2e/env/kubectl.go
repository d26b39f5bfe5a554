//go:build e2e

package env

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Kubectl runs a real kubectl against one side, which must succeed, and returns
// its standard output.
func (e *Env) Kubectl(t testing.TB, side string, args ...string) string {
	t.Helper()
	out, stderr, err := e.TryKubectl(side, nil, args...)
	if err != nil {
		t.Fatalf("kubectl %s %s: %v\n%s%s", side, strings.Join(args, " "), err, out, stderr)
	}
	return out
}

// TryKubectl runs kubectl with an input, which may be nil.
func (e *Env) TryKubectl(side string, stdin io.Reader, args ...string) (stdout, stderr string, err error) {
	cmd := e.command(append([]string{"kubectl", side}, args...)...)
	var outBuffer, errBuffer bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &outBuffer, &errBuffer
	err = cmd.Run()
	return outBuffer.String(), errBuffer.String(), err
}

// KubectlCommand returns a kubectl whose streams the caller connects.
func (e *Env) KubectlCommand(ctx context.Context, side string, args ...string) *exec.Cmd {
	return e.commandContext(ctx, append([]string{"kubectl", side}, args...)...)
}

// Actual runs kubectl actual as a user does, with the local cluster as its
// context, and returns its outputs and exit code.
func (e *Env) Actual(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := e.ActualCommand(t, append(args, "--kubeconfig", e.UserKubeconfig(), "--context=local")...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	code = ExitCode(cmd.Run())
	return out.String(), err.String(), code
}

// MustActual is Actual for a command that must succeed. It returns the standard
// output.
func (e *Env) MustActual(t testing.TB, args ...string) string {
	t.Helper()
	out, stderr, code := e.Actual(t, args...)
	if code != 0 {
		t.Fatalf("kubectl actual %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, stderr)
	}
	return out
}

// ActualCommand returns a kubectl actual with a cache of its own. It is not
// bound to the test's context, which has ended when the test cleans up.
func (e *Env) ActualCommand(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	plugin := filepath.Join(e.Root, "bin", "kubectl-actual")
	return exec.Command(plugin, append(args, "--cache-dir", t.TempDir())...) //nolint:noctx // see above
}

// ExitCode is that of a command that ended with this error, and 0 if there is
// none.
func ExitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}

// Namespace creates a local namespace and returns its name. When the test ends,
// the namespace is deleted with everything in it.
func (e *Env) Namespace(t testing.TB, name string) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := e.Local.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			out, _, _ := e.TryKubectl("local", nil, "get", "pods,events", "-n", name, "-o", "wide")
			t.Log(out)
		}
		out, stderr, err := e.TryKubectl("local", nil, "delete", "namespace", name, "--ignore-not-found", "--wait=true", "--timeout=3m")
		if err != nil {
			t.Errorf("delete namespace %s: %v\n%s%s", name, err, out, stderr)
		}
	})
	Eventually(t, "default service account in "+name, func(ctx context.Context) error {
		_, err := e.Local.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return name
}

// Apply applies YAML to a namespace of the local cluster.
func (e *Env) Apply(t testing.TB, namespace, manifest string) {
	t.Helper()
	out, stderr, err := e.TryKubectl("local", strings.NewReader(manifest), "apply", "-n", namespace, "-f", "-")
	if err != nil {
		t.Fatalf("kubectl apply: %v\n%s%s\n%s", err, out, stderr, manifest)
	}
}

// applyInstalled applies the manifests' objects as `kubectl actual install` does.
func (e *Env) applyInstalled(t testing.TB, side string, objects []*unstructured.Unstructured) {
	t.Helper()
	var stream bytes.Buffer
	for _, object := range objects {
		content, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		stream.WriteString("---\n")
		stream.Write(content)
	}
	out, stderr, err := e.TryKubectl(side, &stream, "apply", "--server-side", "--field-manager=kubectl-actual", "-f", "-")
	if err != nil {
		t.Fatalf("kubectl apply: %v\n%s%s", err, out, stderr)
	}
}

// WaitRollout waits until a local workload, such as deployment/web, is rolled out.
func (e *Env) WaitRollout(t testing.TB, namespace, workload string) {
	t.Helper()
	e.WaitRolloutWithin(t, Timeout, namespace, workload)
}

// WaitRolloutWithin is WaitRollout with a limit of its own, for many pods.
func (e *Env) WaitRolloutWithin(t testing.TB, limit time.Duration, namespace, workload string) {
	t.Helper()
	e.Kubectl(t, "local", "rollout", "status", workload, "-n", namespace, "--timeout="+limit.String())
}

// WaitReady waits until local pods are ready.
func (e *Env) WaitReady(t testing.TB, namespace string, pods ...string) {
	t.Helper()
	args := []string{"wait", "--for=condition=Ready", "-n", namespace, "--timeout=" + Timeout.String()}
	for _, pod := range pods {
		args = append(args, "pod/"+pod)
	}
	e.Kubectl(t, "local", args...)
}

// Pods returns the pods of a local namespace and fails the test unless there
// are some.
func (e *Env) Pods(t testing.TB, namespace string) []corev1.Pod {
	t.Helper()
	list, err := e.Local.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) == 0 {
		t.Fatalf("no pods in %s", namespace)
	}
	return list.Items
}
