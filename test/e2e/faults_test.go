//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// If a pod is force-deleted while akd is down, its remote pod is an orphan, which
// akd deletes when it is back. The Node authorizer answers the get of a deleted
// pod with 403, so only a list shows that it does not exist.
func TestOrphanOfADowntime(t *testing.T) {
	e := shared
	akd := e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "orphan")
	e.Apply(t, namespace, env.Web(env.ExampleNode, 1))
	e.WaitRollout(t, namespace, "deployment/web")
	orphan := e.Pods(t, namespace)[0]

	akd.Stop(t, syscall.SIGTERM)
	e.Kubectl(t, "local", "delete", "pod", orphan.Name, "-n", namespace, "--force", "--grace-period=0")
	akd.Start(t)
	remote := contract.RemoteNamespace(env.ExampleNode, namespace)
	env.Eventually(t, "the orphan is gone", func(ctx context.Context) error {
		_, err := e.Remote.CoreV1().Pods(remote).Get(ctx, orphan.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it still exists (%w)", err)
	})
	e.WaitRollout(t, namespace, "deployment/web")
}

// If the Node is deleted while its pods run, akd creates it again before the pod
// garbage collector deletes the pods, and they keep running.
func TestNodeDeleted(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "node-deleted")
	e.Apply(t, namespace, env.Web(env.ExampleNode, 2))
	e.WaitRollout(t, namespace, "deployment/web")
	before := uids(t, e, namespace)
	old, err := e.Local.CoreV1().Nodes().Get(t.Context(), env.ExampleNode, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e.Kubectl(t, "local", "delete", "node", env.ExampleNode, "--wait=false")
	env.Eventually(t, "the node is back", func(ctx context.Context) error {
		found, err := e.Local.CoreV1().Nodes().Get(ctx, env.ExampleNode, metav1.GetOptions{})
		if err == nil && found.UID == old.UID {
			return errors.New("it has not been deleted yet")
		}
		return err
	})
	if after := uids(t, e, namespace); after != before {
		t.Errorf("pods were %s, now they are %s: want the same", before, after)
	}
}

// uids lists the pods of a local namespace as "name=UID".
func uids(t *testing.T, e *env.Env, namespace string) string {
	t.Helper()
	var all []string
	for _, pod := range e.Pods(t, namespace) {
		all = append(all, pod.Name+"="+string(pod.UID))
	}
	return strings.Join(all, " ")
}

// Pods are created and deleted during a network partition between akd and the
// remote API server: nothing is lost, nothing runs twice, and akd catches up
// when the link is back.
func TestPartition(t *testing.T) {
	e := shared
	e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "partition")
	e.Apply(t, namespace, env.Web(env.ExampleNode, 3))
	e.WaitRollout(t, namespace, "deployment/web")
	before := map[types.UID]bool{}
	first := e.Pods(t, namespace)
	for _, pod := range first {
		before[pod.UID] = true
	}
	victim := first[0] // one that runs: pods that are created during the cut have not started

	if err := e.CutLink(); err != nil {
		t.Fatal(err)
	}
	restored := false
	restore := func() {
		if !restored {
			restored = true
			if err := e.RestoreLink(); err != nil {
				t.Error(err)
			}
		}
	}
	defer restore()
	e.Kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas=5")
	e.Kubectl(t, "local", "delete", "pod", victim.Name, "-n", namespace, "--wait=false")
	restore()

	e.WaitRolloutWithin(t, 5*time.Minute, namespace, "deployment/web")
	remote := contract.RemoteNamespace(env.ExampleNode, namespace)
	env.Eventually(t, "both sides agree", func(ctx context.Context) error {
		local, err := e.Local.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		remotes, err := e.Remote.CoreV1().Pods(remote).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(local.Items) != 5 || len(remotes.Items) != 5 {
			return fmt.Errorf("%d local and %d remote pods, want 5 and 5", len(local.Items), len(remotes.Items))
		}
		kept := 0
		for _, pod := range local.Items {
			if before[pod.UID] {
				kept++
			}
		}
		if kept != 2 {
			return fmt.Errorf("%d of the first pods are left, want the 2 that were not deleted", kept)
		}
		return nil
	})
}
