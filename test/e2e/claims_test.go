//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// With a remote namespace that no pod used any more, akd deleted the claims that the remote
// cluster's administrator had made in it, and their data. Such a namespace stays, which is
// told once, and it goes after the claim.
func TestClaimsKeepNamespaces(t *testing.T) {
	e, node := shared, "claiming"
	tenant := e.InstallTenant(t, manifests.Values{Node: node})
	akd := e.StartAKD(t, node, tenant.Args("--unused-namespace-ttl", "2s")...)
	claimed, plain := e.Namespace(t, "claimed"), e.Namespace(t, "unclaimed")
	remote := contract.RemoteNamespace(node, claimed)

	runOnce(t, e, node, claimed, func() { makeClaim(t, e, remote) })
	waitKept(t, akd, remote, 1)
	runOnce(t, e, node, plain, func() {})
	waitNamespaceGone(t, e, contract.RemoteNamespace(node, plain)) // akd has looked again meanwhile
	akd.Stop(t, syscall.SIGKILL)
	akd.Start(t)
	akd.WaitReady(t)
	waitKept(t, akd, remote, 2)
	found, err := e.Remote.CoreV1().Namespaces().Get(t.Context(), remote, metav1.GetOptions{})
	if err != nil || found.DeletionTimestamp != nil {
		t.Fatalf("the namespace with the claim is not kept: %v", err)
	}

	e.Kubectl(t, "remote", "delete", "pvc", "somebodys", "-n", remote)
	waitNamespaceGone(t, e, remote)
	if told := kept(t, akd, remote); told != 2 {
		t.Errorf("two akds have told %d times that the namespace stays, want once each", told)
	}
}

// runOnce runs a pod of a node in a local namespace, does something while it runs, and
// deletes it.
func runOnce(t *testing.T, e *env.Env, node, namespace string, do func()) {
	t.Helper()
	e.Apply(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: once}
spec:
  nodeSelector: {kubernetes.io/hostname: %s}
  tolerations: [{operator: Exists}]
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: "busybox:1.36", imagePullPolicy: Never, command: [sleep, 1h]}]
`, node))
	e.WaitReady(t, namespace, "once")
	do()
	e.Kubectl(t, "local", "delete", "pod", "once", "-n", namespace)
}

// makeClaim makes a claim as the remote cluster's administrator does.
func makeClaim(t *testing.T, e *env.Env, namespace string) {
	t.Helper()
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "somebodys"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: new(""), // nothing provisions it
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	if _, err := e.Remote.CoreV1().PersistentVolumeClaims(namespace).Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// kept is how often akd has told that a namespace stays because of claims.
func kept(t *testing.T, akd *env.AKD, namespace string) int {
	t.Helper()
	return len(slices.DeleteFunc(akd.LogLines(t), func(line string) bool {
		return !strings.Contains(line, "stays because of the PersistentVolumeClaims in it") || !strings.Contains(line, namespace)
	}))
}

func waitKept(t *testing.T, akd *env.AKD, namespace string, times int) {
	t.Helper()
	env.Eventually(t, "akd tells that "+namespace+" stays", func(context.Context) error {
		if told := kept(t, akd, namespace); told < times {
			return fmt.Errorf("it has told %d times", told)
		}
		return nil
	})
}

func waitNamespaceGone(t *testing.T, e *env.Env, name string) {
	t.Helper()
	env.Eventually(t, "remote namespace "+name+" is gone", func(ctx context.Context) error {
		_, err := e.Remote.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it still exists"), err)
	})
}

// uninstall deleted all remote namespaces of the node, and the volumes in them. It refuses,
// keeps them for the node that is installed again, or is told to give them up.
func TestUninstallVolumes(t *testing.T) {
	env.SkipUnlessSlow(t)
	e, node := shared, "storing"
	install := []string{"install", node, "--remote-context=remote", "--services=none", "--image=" + e.AKDImage(t)}
	uninstall := []string{"uninstall", node, "--remote-context=remote"}
	t.Cleanup(func() { e.Actual(t, append(uninstall, "--force", "--delete-volumes")...) })
	e.MustActual(t, install...)
	namespace := e.Namespace(t, "storing")
	remote := contract.RemoteNamespace(node, namespace)
	runOnce(t, e, node, namespace, func() { makeClaim(t, e, remote) })

	const holds = "1 volume, 1Gi, in remote namespace "
	before := takeSnapshot(t, e)
	if out, stderr, code := e.Actual(t, uninstall...); code != 1 || !strings.Contains(stderr, "node storing holds "+holds+remote) {
		t.Errorf("uninstall: exit code %d, want 1 and the volume\n%s%s", code, out, stderr)
	}
	before.compare(t, e, "a refused uninstall")

	stays := holds + remote + ", stay until node storing is installed again"
	if out := e.MustActual(t, append(uninstall, "--keep-volumes")...); !strings.Contains(out, stays) {
		t.Errorf("uninstall --keep-volumes: %s", out)
	}
	uid := func() string {
		return e.Kubectl(t, "remote", "get", "pvc", "somebodys", "-n", remote, "-o", "jsonpath={.metadata.uid}")
	}
	claim := uid()
	for _, kind := range []string{"pods", "secrets", "rolebindings"} {
		left := e.Kubectl(t, "remote", "get", kind, "-n", remote, "-l", contract.LabelNodeName+"="+node, "-o", "name")
		if left != "" {
			t.Errorf("%s are left beside the volume: %s", kind, left)
		}
	}
	e.MustActual(t, install...)
	runOnce(t, e, node, namespace, func() {})
	if again := uid(); again != claim {
		t.Errorf("the claim's UID was %s, and is %s", claim, again)
	}
	e.MustActual(t, append(uninstall, "--delete-volumes")...)
	waitNamespaceGone(t, e, remote)
}
