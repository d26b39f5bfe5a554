//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/component-helpers/nodedeclaredfeatures/features/restartallcontainers"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// After install a pod runs, another install changes nothing, and uninstall leaves
// nothing behind.
func TestInstall(t *testing.T) {
	e := shared
	image := e.AKDImage(t)
	for _, side := range []string{"local", "remote"} {
		t.Run(side, func(t *testing.T) {
			node := "install-" + side
			install := []string{"install", node, "--image=" + image, "--run-in=" + side, "--remote-context=remote"}
			e.MustActual(t, install...) // waits until a probe pod has run
			if got := e.MustActual(t, install...); !strings.Contains(got, " 0 created, 0 changed,") {
				t.Errorf("install again: %s", got)
			}
			e.MustActual(t, append(install, "--label=example.com/rack=b")...)
			isWhatItsNodesAre(t, e, node, "example.com/rack")
			mirrorsBudgets(t, e, node, install)
			e.MustActual(t, "uninstall", node, "--remote-context=remote")
			if _, err := e.Local.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("get node after uninstall: %v, want not found", err)
			}
			ofNode := metav1.ListOptions{LabelSelector: "actual.vk/node-name=" + node}
			left, err := e.Remote.CoreV1().Namespaces().List(t.Context(), ofNode)
			if err != nil || len(left.Items) > 0 {
				t.Errorf("remote namespaces after uninstall: %d, %v", len(left.Items), err)
			}
		})
	}
}

// isWhatItsNodesAre checks that an installed node has labels and features of the remote
// nodes, which its akd may not list, and the label that install was given.
func isWhatItsNodesAre(t *testing.T, e *env.Env, node, label string) {
	t.Helper()
	found, err := e.Local.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if arch := found.Labels[corev1.LabelArchStable]; arch != runtime.GOARCH {
		t.Errorf("the label for the architecture is %q, want %s", arch, runtime.GOARCH)
	}
	if !slices.Contains(found.Status.DeclaredFeatures, restartallcontainers.RestartAllContainersOnContainerExits) {
		t.Errorf("the node declares %q", found.Status.DeclaredFeatures)
	}
	if _, ok := found.Labels[label]; !ok {
		t.Errorf("install has ended, and the node's labels are %v, without %s", found.Labels, label)
	}
}

// install names each obstacle and its remedy, an interrupted install can be
// resumed, and uninstall refuses to end pods without --force.
func TestInstallHindered(t *testing.T) {
	env.SkipUnlessSlow(t)
	e, node := shared, "hindered"
	role := "clusterrole/actual.vk:" + node
	image := e.AKDImage(t)
	before := takeSnapshot(t, e)
	install := []string{"install", node, "--remote-context=remote", "--services=none", "--image=" + image}
	t.Cleanup(func() { e.Actual(t, "uninstall", node, "--remote-context=remote", "--force") })
	refused := func(t *testing.T, wants []string, args ...string) {
		t.Helper()
		out, stderr, code := e.Actual(t, args...)
		for _, want := range wants {
			if code != 1 || !strings.Contains(stderr, want) {
				t.Errorf("kubectl actual %v: exit code %d, want 1 and %q\n%s%s", args, code, want, out, stderr)
			}
		}
	}

	t.Run("DryRun", func(t *testing.T) {
		out, stderr, code := e.Actual(t, append(install, "--dry-run=server")...)
		if code != 0 || !strings.Contains(out, "node/hindered would be installed: ") {
			t.Errorf("exit code %d\n%s%s", code, out, stderr)
		}
		before.compare(t, e, "a dry run")
	})
	t.Run("Rights", func(t *testing.T) {
		e.Kubectl(t, "local", "create", "clusterrolebinding", "e2e-viewer", "--clusterrole=view", "--user=viewer")
		t.Cleanup(func() { e.Kubectl(t, "local", "delete", "clusterrolebinding", "e2e-viewer") })
		kubeconfig := viewer(t, e)
		out, err := e.ActualCommand(t, append(install, "--kubeconfig", kubeconfig, "--context=viewer")...).CombinedOutput()
		for _, want := range []string{
			"✗ your rights", "local cluster: missing: ", "clusterroles.rbac.authorization.k8s.io", "patch deployments.apps in actual-system",
		} {
			if env.ExitCode(err) != 1 || !strings.Contains(string(out), want) {
				t.Errorf("exit code %d, want 1 and %q\n%s", env.ExitCode(err), want, out)
			}
		}
	})
	t.Run("Helm", func(t *testing.T) {
		e.Kubectl(t, "remote", "create", "clusterrole", "actual.vk:"+node, "--verb=get", "--resource=pods")
		e.Kubectl(t, "remote", "annotate", role, "meta.helm.sh/release-name=site")
		e.Kubectl(t, "remote", "label", role, contract.LabelNodeName+"="+node, contract.LabelClusterUID+"="+e.ClusterUID)
		refused(t, []string{
			"remote ClusterRole actual.vk:hindered is managed by Helm, release site",
			"hint: remove it there, or choose another node name",
			"so far; run the same command again to resume",
		}, install...)
		e.Kubectl(t, "remote", "delete", role)
	})
	t.Run("Conflict", func(t *testing.T) {
		manifest := "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: 'actual.vk:" + node + "'\n" +
			"  labels: {" + contract.LabelNodeName + ": " + node + ", " + contract.LabelClusterUID + ": " + e.ClusterUID + "}\n" +
			"rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]\n"
		out, stderr, err := e.TryKubectl("remote", strings.NewReader(manifest), "apply", "--server-side", "--field-manager=gitops", "-f", "-")
		if err != nil {
			t.Fatalf("%v\n%s%s", err, out, stderr)
		}
		refused(t, []string{
			`remote ClusterRole actual.vk:hindered: .rules (conflict with "gitops")`,
			"take its fields over with --force-conflicts, or undo the other manager's change",
		}, install...)
	})
	t.Run("Interrupted", func(t *testing.T) {
		cmd := e.ActualCommand(t, append(install, "--kubeconfig", e.UserKubeconfig(), "--context=local",
			"--force-conflicts", "--image=docker.io/actual-kubelets/akd:nowhere")...)
		var progress bytes.Buffer
		cmd.Stderr = &progress
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		env.Eventually(t, "akd is applied", func(ctx context.Context) error {
			_, err := e.Local.AppsV1().Deployments("actual-system").Get(ctx, node, metav1.GetOptions{})
			return err
		})
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		if text := progress.String(); env.ExitCode(err) != 130 || !strings.Contains(text, "so far; run the same command again to resume") {
			t.Errorf("exit code %d, want 130 and how to resume\n%s", env.ExitCode(err), text)
		}
		out, stderr, code := e.Actual(t, install...)
		if code != 0 || !strings.Contains(out, " 0 created, 1 changed,") { // akd's image
			t.Errorf("resumed: exit code %d\n%s%s", code, out, stderr)
		}
	})
	t.Run("PodsRun", func(t *testing.T) {
		namespace := "hindered-pods" // ends with the node
		e.Kubectl(t, "local", "create", "namespace", namespace)
		e.Apply(t, namespace, env.Web(node, 1))
		e.WaitRollout(t, namespace, "deployment/web")
		refused(t, []string{
			"1 pods run on node hindered: hindered-pods/web-",
			"hint: end them with --force, or move them: kubectl drain hindered --ignore-daemonsets --delete-emptydir-data --context=local",
		}, "uninstall", node, "--remote-context=remote")

		// Without the remote cluster, uninstall deletes the local objects; with
		// it, later, the others.
		e.MustActual(t, "uninstall", node, "--force", "--keep-remote")
		remote := contract.RemoteNamespace(node, namespace)
		if _, err := e.Remote.CoreV1().Namespaces().Get(t.Context(), remote, metav1.GetOptions{}); err != nil {
			t.Errorf("--keep-remote: %v", err)
		}
		e.Kubectl(t, "local", "delete", "namespace", namespace, "--timeout=3m")
		e.MustActual(t, "uninstall", node, "--remote-context=remote")
		before.compare(t, e, "uninstall")
	})
}

// snapshot names the objects of each side.
type snapshot map[string]map[string]bool

func takeSnapshot(t *testing.T, e *env.Env) snapshot {
	t.Helper()
	return snapshot{"local": e.Objects(t, "local"), "remote": e.Objects(t, "remote")}
}

// isShared recognizes, as "resource namespace/name", what all nodes share.
func isShared(object string) bool {
	_, name, _ := strings.Cut(object, " ")
	switch name {
	case "/actual.vk:tenant", "/actual-system", "actual-system/default", "actual-system/kube-root-ca.crt":
		return true
	}
	return strings.HasSuffix(name, ".actual.vk")
}

// compare fails the test if the clusters have more or fewer objects than before. What
// nodes of other tests have left for all nodes may go with the last one.
func (s snapshot) compare(t *testing.T, e *env.Env, event string) {
	t.Helper()
	for side, objects := range s {
		after, before := e.Objects(t, side), maps.Clone(objects)
		maps.DeleteFunc(before, func(object string, _ bool) bool { return isShared(object) && !after[object] })
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%s objects after %s (-before +after):\n%s", side, event, diff)
		}
	}
}

// viewer returns a kubeconfig with a context viewer, whose user may read, but not
// install.
func viewer(t *testing.T, e *env.Env) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(e.UserKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	local := config.Contexts["local"]
	viewer := config.AuthInfos[local.AuthInfo].DeepCopy()
	viewer.Impersonate = "viewer"
	config.AuthInfos["viewer"] = viewer
	config.Contexts["viewer"] = &clientcmdapi.Context{Cluster: local.Cluster, AuthInfo: "viewer"}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// If the local cluster has no nodes of its own, akd runs in the remote one.
func TestNoLocalNodes(t *testing.T) {
	env.SkipUnlessSlow(t)
	e := env.UpAlone(t, "--local-nodes=0")
	const node = "only"
	image := e.AKDImage(t)
	e.MustActual(t, "install", node, "--remote-context=remote", "--run-in=remote", "--image="+image)
	if nodes, err := e.Local.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err != nil || len(nodes.Items) != 1 {
		t.Fatalf("%d local nodes (%v), want %s alone", len(nodes.Items), err, node)
	}
	const namespace = "default"
	e.Apply(t, namespace, env.Web(node, 1))
	e.WaitRollout(t, namespace, "deployment/web")
	pod := e.Pods(t, namespace)[0].Name
	if got, want := e.Kubectl(t, "local", "logs", pod), "hello from "+pod+"\n"; got != want {
		t.Errorf("logs: got %q, want %q", got, want)
	}
	if got, want := e.Kubectl(t, "local", "exec", pod, "--", "hostname"), pod+"\n"; got != want {
		t.Errorf("exec: got %q, want %q", got, want)
	}
	out, stderr, code := e.Actual(t, "status", node)
	if code != 0 || !strings.Contains(out, "elsewhere") {
		t.Errorf("status: exit code %d\n%s%s", code, out, stderr)
	}
	e.MustActual(t, "check", node, "--remote-context=remote", "--probe-image=registry.k8s.io/e2e-test-images/agnhost:2.66.1")
	e.Kubectl(t, "local", "delete", "deployment", "web")
	e.Kubectl(t, "local", "wait", "--for=delete", "pod/"+pod, "--timeout=3m")
	e.MustActual(t, "uninstall", node, "--remote-context=remote")
}
