//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// Pods that the remote scheduler cannot place were counted nowhere: status and check said of
// one that it cannot start, and metrics said that it is Pending.
func TestRemotelyPending(t *testing.T) {
	e := shared
	// The resources of a remote cluster that grows on demand are set: akd rejects no pod for them.
	akd := e.StartAKD(t, env.ExampleNode, "--node-capacity", "cpu=500,memory=8Gi,pods=50")
	namespace := e.Namespace(t, "pending")
	const large = "    resources: {requests: {cpu: 200}}"
	e.Apply(t, namespace, sleeper("small", "")+"\n---"+sleeper("large-1", large)+"\n---"+sleeper("large-2", large))
	e.Pod(namespace, "small").WaitReady(t)

	const gauge = "akd_pods_remotely_pending"
	counted := func(want int) {
		t.Helper()
		env.Eventually(t, fmt.Sprintf("%d pods are counted", want), func(context.Context) error {
			if got := e.Metric(t, env.FirstMetrics, gauge); got != fmt.Sprint(want) {
				return fmt.Errorf("%s is %q", gauge, got)
			}
			out, _, _ := e.Actual(t, "status", env.ExampleNode, "-o", "jsonpath={.items[0].remotelyPending}")
			if out != fmt.Sprint(want) {
				return fmt.Errorf("status says %q", out)
			}
			return nil
		})
	}
	counted(2)
	if out, _, _ := e.Actual(t, "status", env.ExampleNode); !strings.Contains(out, "1/3 running, 2 remotely pending (") {
		t.Errorf("status:\n%s", out)
	}
	env.Eventually(t, "check warns of both", func(context.Context) error {
		found := checked(t, e, "pods-scheduled", "--no-probe")
		for _, want := range []string{"2 of 3 pods", namespace + "/large-1", namespace + "/large-2", "Insufficient cpu"} {
			if found.Level != "warning" || !strings.Contains(found.Found, want) {
				return fmt.Errorf("want %q in the warning: %+v", want, found)
			}
		}
		return nil
	})

	akd.Stop(t, syscall.SIGKILL)
	akd.Start(t)
	akd.WaitReady(t)
	counted(2)
	e.Kubectl(t, "local", "delete", "pod", "large-1", "-n", namespace)
	counted(1)
	e.Kubectl(t, "local", "delete", "pod", "large-2", "-n", namespace)
	counted(0)
	if found := checked(t, e, "pods-scheduled", "--no-probe"); found.Level != "ok" {
		t.Errorf("without such pods: %+v", found)
	}
}

// result is an item of a CheckList.
type result struct {
	ID, Level, Found, Fix string
	Details               []string
}

// checked returns the result of one check of the node.
func checked(t *testing.T, e *env.Env, id string, more ...string) result {
	t.Helper()
	return resultOf(t, e, id, append([]string{"check", env.ExampleNode, "--remote-context=remote", "-o", "json"}, more...))
}

// resultOf returns the result of one check of a command.
func resultOf(t *testing.T, e *env.Env, id string, check []string) result {
	t.Helper()
	out, stderr, code := e.Actual(t, check...)
	var list struct{ Items []result }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("check: exit code %d, %v\n%s%s", code, err, out, stderr)
	}
	at := slices.IndexFunc(list.Items, func(item result) bool { return item.ID == id })
	if at < 0 {
		t.Fatalf("there is no check %s", id)
	}
	return list.Items[at]
}
