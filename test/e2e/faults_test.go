//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// A pod is force-deleted while akd is down: its remote pod is an orphan, which
// the next akd ends. The Node authorizer answers the get of a pod that is gone
// with 403, so that only a list can tell.
func TestOrphanOfADowntime(t *testing.T) {
	b := shared
	d := b.startAKD(t, exampleNode)
	namespace := b.namespace(t, "orphan")
	b.apply(t, namespace, web(exampleNode, 1))
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=3m")
	orphan := b.pods(t, namespace)[0]

	d.stop(t, syscall.SIGTERM)
	b.kubectl(t, "local", "delete", "pod", orphan.Name, "-n", namespace, "--force", "--grace-period=0")
	d.start(t)
	remote := translate.RemoteNamespace(exampleNode, namespace)
	eventually(t, "the orphan is gone", func(ctx context.Context) error {
		_, err := b.remote.CoreV1().Pods(remote).Get(ctx, orphan.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there (%w)", err)
	})
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=3m")
}

// The Node is deleted while its pods run: it comes back before the pod garbage
// collector takes the pods, and they run on.
func TestNodeDeleted(t *testing.T) {
	b := shared
	b.startAKD(t, exampleNode)
	namespace := b.namespace(t, "node-deleted")
	b.apply(t, namespace, web(exampleNode, 2))
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=3m")
	before := uids(t, b, namespace)
	old, err := b.local.CoreV1().Nodes().Get(t.Context(), exampleNode, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.kubectl(t, "local", "delete", "node", exampleNode, "--wait=false")
	eventually(t, "the node is back", func(ctx context.Context) error {
		found, err := b.local.CoreV1().Nodes().Get(ctx, exampleNode, metav1.GetOptions{})
		if err == nil && found.UID == old.UID {
			return errors.New("it has not gone yet")
		}
		return err
	})
	if after := uids(t, b, namespace); after != before {
		t.Errorf("pods were %s and are %s: want the same", before, after)
	}
}

func uids(t *testing.T, b *bed, namespace string) string {
	t.Helper()
	var all []string
	for _, pod := range b.pods(t, namespace) {
		all = append(all, pod.Name+"="+string(pod.UID))
	}
	return strings.Join(all, " ")
}

// The link to the remote API server is cut, in the way of a partition, while
// pods are created and deleted: nothing is lost, nothing runs twice, and all
// catches up when the link is back.
func TestPartition(t *testing.T) {
	b := shared
	b.startAKD(t, exampleNode)
	namespace := b.namespace(t, "partition")
	b.apply(t, namespace, web(exampleNode, 3))
	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=3m")
	before := map[types.UID]bool{}
	first := b.pods(t, namespace)
	for _, pod := range first {
		before[pod.UID] = true
	}
	victim := first[0] // one that runs: those that come during the cut have not started

	if err := b.command("link", "--cut").Run(); err != nil {
		t.Fatal(err)
	}
	restored := false
	restore := func() {
		if !restored {
			restored = true
			if err := b.command("link", "--restore").Run(); err != nil {
				t.Error(err)
			}
		}
	}
	defer restore()
	b.kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas=5")
	b.kubectl(t, "local", "delete", "pod", victim.Name, "-n", namespace, "--wait=false")
	restore()

	b.kubectl(t, "local", "rollout", "status", "deployment/web", "-n", namespace, "--timeout=5m")
	remote := translate.RemoteNamespace(exampleNode, namespace)
	eventually(t, "both sides agree", func(ctx context.Context) error {
		local, err := b.local.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		there, err := b.remote.CoreV1().Pods(remote).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(local.Items) != 5 || len(there.Items) != 5 {
			return fmt.Errorf("%d local and %d remote pods, want 5 and 5", len(local.Items), len(there.Items))
		}
		kept := 0
		for _, pod := range local.Items {
			if before[pod.UID] {
				kept++
			}
		}
		if kept != 2 {
			return fmt.Errorf("%d of the first pods are left, want the 2 that nobody deleted", kept)
		}
		return nil
	})
}
