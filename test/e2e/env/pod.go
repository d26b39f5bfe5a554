//go:build e2e

package env

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Pod is one pod of the local cluster, and its remote pod if it runs on
// ExampleNode.
type Pod struct {
	*Env
	Namespace, Name string
}

// Pod is the one of that name, which need not exist yet.
func (e *Env) Pod(namespace, name string) Pod { return Pod{Env: e, Namespace: namespace, Name: name} }

// RemoteNamespace is where the remote pod is.
func (p Pod) RemoteNamespace() string { return contract.RemoteNamespace(ExampleNode, p.Namespace) }

// Eventually waits until the local pod is as wanted.
func (p Pod) Eventually(t testing.TB, what string, wanted func(*corev1.Pod) error) {
	t.Helper()
	Eventually(t, what, func(ctx context.Context) error {
		found, err := p.Local.CoreV1().Pods(p.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return wanted(found)
	})
}

// EventuallyRemote waits until the remote pod is as wanted.
func (p Pod) EventuallyRemote(t testing.TB, what string, wanted func(*corev1.Pod) error) {
	t.Helper()
	Eventually(t, what, func(ctx context.Context) error {
		found, err := p.Remote.CoreV1().Pods(p.RemoteNamespace()).Get(ctx, p.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return wanted(found)
	})
}

// RemotePod gets the remote pod.
func (p Pod) RemotePod(t testing.TB) *corev1.Pod {
	t.Helper()
	found, err := p.Remote.CoreV1().Pods(p.RemoteNamespace()).Get(t.Context(), p.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// WaitReady waits until the pod is ready.
func (p Pod) WaitReady(t testing.TB) {
	t.Helper()
	p.Env.WaitReady(t, p.Namespace, p.Name)
}

// WaitEvent waits for an event of the local pod with that reason whose message
// contains the text. No event but akd's own may contain the name of the remote
// namespace.
func (p Pod) WaitEvent(t testing.TB, reason, text string) {
	t.Helper()
	Eventually(t, fmt.Sprintf("pod %s has the event %s with %q", p.Name, reason, text), func(ctx context.Context) error {
		list, err := p.Local.CoreV1().Events(p.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + p.Name})
		if err != nil {
			return err
		}
		var others []string
		for _, event := range list.Items {
			if event.Source.Component != "akd" && strings.Contains(event.Message, p.RemoteNamespace()) {
				t.Errorf("event %s names the remote namespace: %s", event.Reason, event.Message)
			}
			if event.Reason == reason && strings.Contains(event.Message, text) {
				return nil
			}
			others = append(others, event.Reason+": "+event.Message)
		}
		return fmt.Errorf("only %q", others)
	})
}

// Shell runs a script in the pod's first container, which must succeed, and
// returns its standard output.
func (p Pod) Shell(t testing.TB, script string) string {
	t.Helper()
	return p.Kubectl(t, "local", "exec", "-n", p.Namespace, p.Name, "--", "sh", "-c", script)
}

// WaitAnswers has the pod request a URL until each of the answers has come.
func (p Pod) WaitAnswers(t testing.TB, url string, answers ...string) {
	t.Helper()
	missing := map[string]bool{}
	for _, answer := range answers {
		missing[answer] = true
	}
	Eventually(t, url+" answers", func(context.Context) error {
		out, stderr, err := p.TryKubectl("local", nil,
			"exec", "-n", p.Namespace, p.Name, "--", "curl", "-sS", "--max-time", "5", url)
		if err != nil {
			return fmt.Errorf("%w: %s%s", err, out, stderr)
		}
		if delete(missing, strings.TrimSpace(out)); len(missing) > 0 {
			return fmt.Errorf("no answer yet from %v", missing)
		}
		return nil
	})
}

// WaitOnlyAnswer has the pod request a URL until one answer has come many
// times in a row.
func (p Pod) WaitOnlyAnswer(t testing.TB, url, answer string) {
	t.Helper()
	const times = 20
	script := fmt.Sprintf("for i in $(seq %d); do curl -sS --max-time 5 %s || exit 1; echo; done", times, url)
	Eventually(t, url+" answers "+answer+" only", func(context.Context) error {
		out, stderr, err := p.TryKubectl("local", nil, "exec", "-n", p.Namespace, p.Name, "--", "sh", "-c", script)
		if err != nil {
			return fmt.Errorf("%w: %s%s", err, out, stderr)
		}
		if heard := strings.Count(out, answer+"\n"); heard != times {
			return fmt.Errorf("%d of %d times: %s", heard, times, out)
		}
		return nil
	})
}
