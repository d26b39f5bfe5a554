//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// Until it is Ready, a pod costs one remote create, one Secret with its token,
// and at most three local status patches, and no reads beside the watches. A
// restart with unchanged pods costs none of these.
func TestCost(t *testing.T) {
	e := shared
	const pods = 20
	akd := e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "cost")
	e.Apply(t, namespace, env.Web(env.ExampleNode, 1)) // the first pod opens the namespace
	e.WaitRollout(t, namespace, "deployment/web")
	before := e.Requests(t)
	e.Kubectl(t, "local", "scale", "deployment/web", "-n", namespace, fmt.Sprintf("--replicas=%d", 1+pods))
	e.WaitRolloutWithin(t, 5*time.Minute, namespace, "deployment/web")
	cost := e.Requests(t).Since(before)
	t.Logf("requests for %d pods from their creation to Ready: %v", pods, cost)
	// Token requests are not counted: how often the authorizer lags behind a
	// binding, and so how many are repeated, depends on the machine.
	cost.AtMost(t, map[string]int{
		"remote create pods":      pods,
		"remote create secrets":   pods,
		"local patch pods/status": 3 * (pods + 1), // the first pod may still change
		"remote patch pods":       0,
		"remote get pods":         0,
		"local get pods":          0,
		"local list pods":         0,
	})

	restartsQuietly(t, e, akd)
}

// restartsQuietly restarts akd until a restart writes nothing but the node. The
// first may write more, because a remote kubelet may have changed a status while
// akd was down.
func restartsQuietly(t *testing.T, e *env.Env, akd *env.AKD) {
	t.Helper()
	env.Eventually(t, "a restart writes nothing but the node", func(context.Context) error {
		akd.Stop(t, syscall.SIGTERM)
		akd.Start(t)
		akd.WaitReady(t)
		e.WaitSynced(t, env.FirstMetrics)
		restart := e.Requests(t)
		writes := restart.Writes()
		// A tenant may not read whether its role is bound: it binds it, and is told
		// that it is.
		delete(writes, "remote create rolebindings")
		if len(writes) > 0 {
			return fmt.Errorf("it wrote %v", writes)
		}
		t.Logf("requests of a restart: %v", restart)
		return nil
	})
}
