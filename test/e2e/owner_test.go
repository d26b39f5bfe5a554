//go:build e2e

package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

const elsewhere = "11111111-2222-3333-4444-555555555555" // the UID of another local cluster

// Two local clusters give a node the same name. The second one's install was done over
// the first one's, and stored a token that could read all its Secrets; an uninstall
// from the second ended the first one's pods. Now both change nothing, and say whose
// the node is.
func TestNameOfAnotherCluster(t *testing.T) {
	e, node := shared, "owned"
	e.InstallTenant(t, manifests.Values{Node: node})
	namespace := remoteNamespaceOf(t, node, "shop", e.ClusterUID)
	other := e.OtherCluster(t, elsewhere)
	before := takeSnapshot(t, e)
	for name, args := range map[string][]string{
		"install":   {"install", node, "--services=none", "--image=docker.io/actual-kubelets/akd:nowhere"},
		"upgrade":   {"upgrade", node, "--services=none", "--force-conflicts", "--dry-run=server"},
		"uninstall": {"uninstall", node, "--force"},
		"rotate":    {"token", "rotate", node, "--revoke-all"},
		"report":    {"report", node, "--filename", t.TempDir() + "/report.zip"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := e.ActualCommand(t, append(args, "--kubeconfig", other, "--context=local", "--remote-context=remote")...)
			out, err := cmd.CombinedOutput()
			want := "node owned belongs to another local cluster in the remote one: to that with UID " + e.ClusterUID
			if env.ExitCode(err) != 1 || !strings.Contains(string(out), want) ||
				!strings.Contains(string(out), "this local cluster has UID "+elsewhere) {
				t.Errorf("exit code %d, want 1 and %q\n%s", env.ExitCode(err), want, out)
			}
		})
	}
	before.compare(t, e, "refused commands")
	found, err := e.Remote.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
	if err != nil || found.DeletionTimestamp != nil {
		t.Errorf("the first cluster's namespace ends: %v", err)
	}
}

// remoteNamespaceOf creates the namespace that the akd of a node of some local cluster
// would create for a local one.
func remoteNamespaceOf(t *testing.T, node, local, cluster string) string {
	t.Helper()
	namespace := env.RemoteNamespace(contract.Owner{Node: node, ClusterUID: types.UID(cluster)}, local)
	if _, err := shared.Remote.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}

// A local cluster that was built anew takes its node over: the former cluster's
// credential ends, its namespaces become the new one's with what is in them, and pods
// run. When a local cluster is gone, the remote one alone is enough to uninstall.
func TestTakeOver(t *testing.T) {
	env.SkipUnlessSlow(t)
	e, node := shared, "moved"
	former := e.InstallTenant(t, manifests.Values{Node: node, ClusterUID: elsewhere})
	namespace := remoteNamespaceOf(t, node, "default", elsewhere)
	owner := contract.Owner{Node: node, ClusterUID: elsewhere}
	mirrored := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "mirrored", Labels: owner.Labels("default", "1")}}
	if _, err := e.Remote.CoreV1().ConfigMaps(namespace).Create(t.Context(), mirrored, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := env.IdlePod("former") // the new akd ends it, as nobody needs it
	pod.Labels = owner.Labels("default", "2")
	if _, err := e.Remote.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	install := []string{"install", node, "--remote-context=remote", "--services=none", "--image=" + e.AKDImage(t)}
	if out, stderr, code := e.Actual(t, install...); code != 1 || !strings.Contains(stderr, "--take-over") {
		t.Fatalf("without --take-over: exit code %d\n%s%s", code, out, stderr)
	}
	t.Cleanup(func() { e.Actual(t, "uninstall", node, "--remote-context=remote", "--force") })
	e.MustActual(t, append(install, "--take-over")...) // a probe pod runs
	if got := e.MustActual(t, install...); !strings.Contains(got, " 0 created, 0 changed,") {
		t.Errorf("install again: %s", got)
	}
	env.Eventually(t, "the former cluster's token is rejected", func(ctx context.Context) error {
		if _, err := former.Client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{}); !apierrors.IsUnauthorized(err) {
			return errors.Join(errors.New("it is not"), err)
		}
		return nil
	})
	taken, err := e.Remote.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
	if err != nil || taken.Labels[contract.LabelClusterUID] != e.ClusterUID {
		t.Errorf("the namespace has labels %v, %v", taken.Labels, err)
	}
	e.Kubectl(t, "remote", "wait", "--for=delete", "pod/former", "-n", namespace, "--timeout=3m")
	e.Apply(t, "default", env.Web(node, 1))
	e.WaitRollout(t, "default", "deployment/web")
	e.Kubectl(t, "local", "delete", "deployment", "web")

	e.MustActual(t, "uninstall", node, "--keep-remote", "--force")
	out, stderr, code := e.Actual(t, "uninstall", node, "--remote-context=remote", "--cluster-uid="+elsewhere)
	if code != 1 || !strings.Contains(stderr, "belongs to another local cluster") {
		t.Errorf("another UID: exit code %d\n%s%s", code, out, stderr)
	}
	e.MustActual(t, "uninstall", node, "--remote-context=remote", "--cluster-uid="+e.ClusterUID)
}

// A thief of the credential puts a finalizer into the node's namespace. Uninstall
// cannot end, but the thief's token ends at once, and the message names the finalizer;
// without it, a rerun goes on. akd's own finalizer holds nothing up.
func TestUninstallHeldUp(t *testing.T) {
	e, node := shared, "held"
	thief := e.InstallTenant(t, manifests.Values{Node: node})
	namespace := remoteNamespaceOf(t, node, "shop", e.ClusterUID)
	held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/stay"}}}
	if _, err := e.Remote.CoreV1().ConfigMaps(namespace).Create(t.Context(), held, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ends := env.IdlePod("waits-for-akd")
	ends.Labels, ends.Finalizers = e.Owner(node).Labels("shop", "1"), []string{contract.FinalizerLastState}
	if _, err := e.Remote.CoreV1().Pods(namespace).Create(t.Context(), ends, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	release := func() {
		_, _, _ = e.TryKubectl("remote", nil, "patch", "configmap", "held", "-n", namespace,
			"--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	}
	t.Cleanup(release)
	uninstall := []string{"uninstall", node, "--remote-context=remote", "--cluster-uid=" + e.ClusterUID}
	out, stderr, code := e.Actual(t, append(uninstall, "--timeout=12s")...)
	for _, want := range []string{"example.com/stay in 1 resource instances", "run the same command again"} {
		if code != 1 || !strings.Contains(stderr, want) || strings.Contains(stderr, contract.FinalizerLastState) {
			t.Errorf("exit code %d, want 1 and %q\n%s%s", code, want, out, stderr)
		}
	}
	env.Eventually(t, "the thief's token is rejected", func(ctx context.Context) error {
		if _, err := thief.Client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{}); !apierrors.IsUnauthorized(err) {
			return errors.Join(errors.New("it is not"), err)
		}
		return nil
	})
	release()
	e.MustActual(t, uninstall...)
	if _, err := e.Remote.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the namespace after uninstall: %v", err)
	}
}
