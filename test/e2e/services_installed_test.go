//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// Users get the same with install, which adds the range and the rights and names
// the obstacles for another node; uninstall deletes the range.
func TestServicesInstalled(t *testing.T) {
	env.SkipUnlessSlow(t)
	e := shared
	const node = "mirroring"
	args := []string{"--remote-context=remote", "--image=" + e.AKDImage(t)}
	install := func(node string, more ...string) (string, string, int) {
		return e.Actual(t, append(append([]string{"install", node}, args...), more...)...)
	}
	out, stderr, code := install(node, "--services=mirror")
	t.Cleanup(func() {
		for _, installed := range []string{node, "sharing"} {
			_, _, _ = e.Actual(t, "uninstall", installed, "--remote-context=remote", "--force")
		}
	})
	if code != 0 || !strings.Contains(stderr, "services: mirror 10.96.0.0/16; copies may lead to 10.244.") {
		t.Fatalf("install: exit code %d\n%s%s", code, out, stderr)
	}
	if out, stderr, code = install(node); code != 0 || !strings.Contains(out, " 0 created, 0 changed,") {
		t.Errorf("install again, without --services: exit code %d\n%s%s", code, out, stderr)
	}
	t.Run("Services", func(t *testing.T) { testServices(t, e, node, node) })
	t.Run("DNSOnTheNode", func(t *testing.T) { runDNSOn(t, e, node) })
	t.Run("InTheWay", func(t *testing.T) {
		for address, want := range map[string]string{
			"10.97.128.0/17": "the local cluster's service range 10.97.128.0/17 overlaps the remote cluster's own, " +
				"10.97.0.0/16 (ServiceCIDR kubernetes)",
			"10.245.0.0/20": "the local cluster's service range 10.245.0.0/20 overlaps the remote cluster's pod ranges",
			"172.18.2.0/28": "the local cluster's service range 172.18.2.0/28 has the address of a remote one (node remote-1, 172.18.2.11)",
		} {
			more := []string{"--dry-run=server", "--service-cidr=" + address}
			_, stderr, code := install("another", append(more, "--services=mirror")...)
			if code != 1 || !strings.Contains(stderr, "services cannot be mirrored: "+want) {
				t.Errorf("range %q: exit code %d\n%s\nwant %q", address, code, stderr, want)
			}
			if _, stderr, code = install("another", more...); code != 0 || !strings.Contains(stderr, "services: none: "+want) {
				t.Errorf("range %q, --services not set: exit code %d\n%s\nwant %q", address, code, stderr, want)
			}
		}
	})
	t.Run("Shared", func(t *testing.T) { testShared(t, e, node, install) })
	if _, stderr, code = e.Actual(t, "uninstall", node, "--remote-context=remote"); code != 0 || !strings.Contains(stderr,
		"warning: pods on sharing reached the local Services by the copies of node mirroring") {
		t.Errorf("uninstall: exit code %d\n%s\nwant that it names the node that shares", code, stderr)
	}
	if out, stderr, code = e.Actual(t, "check", "sharing", "--remote-context=remote"); code != 3 || !strings.Contains(out,
		"no other node of this local cluster mirrors them any more") {
		t.Errorf("check of the node that shares: exit code %d\n%s%s", code, out, stderr)
	}
	if _, stderr, code = install("sharing"); code != 0 || !strings.Contains(stderr, "services: mirror 10.96.0.0/16;") {
		t.Errorf("install the other node again: exit code %d\n%s\nwant that it mirrors", code, stderr)
	}
	e.MustActual(t, "uninstall", "sharing", "--remote-context=remote")
	left, err := e.Remote.NetworkingV1().ServiceCIDRs().List(t.Context(), metav1.ListOptions{LabelSelector: contract.LabelNodeName})
	if err != nil || len(left.Items) > 0 {
		t.Errorf("service ranges after uninstall: %v, %v", left.Items, err)
	}
}

// testShared installs a second node of the local cluster, whose pods use the copies of the
// first one's.
func testShared(t *testing.T, e *env.Env, mirror string, install func(string, ...string) (string, string, int)) {
	const node = "sharing"
	_, stderr, code := install(node, "--services=mirror", "--dry-run=server")
	want := "services cannot be mirrored: node mirroring of this local cluster already mirrors services with addresses in 10.96.0.0/16"
	if code != 1 || !strings.Contains(stderr, want) || !strings.Contains(stderr, "--services=shared") {
		t.Errorf("install with copies of its own: exit code %d\n%s\nwant %q", code, stderr, want)
	}
	out, stderr, code := install(node)
	if code != 0 || !strings.Contains(stderr, "services: shared: node mirroring mirrors them") {
		t.Fatalf("install: exit code %d\n%s%s", code, out, stderr)
	}
	testServices(t, e, node, mirror)
	out, stderr, code = e.Actual(t, "check", node, "--remote-context=remote")
	if code != 0 || !strings.Contains(out, "node mirroring mirrors them") {
		t.Errorf("check: exit code %d\n%s%s", code, out, stderr)
	}
}

// runDNSOn moves the local cluster's DNS servers to a node, queries them, and moves
// them back.
func runDNSOn(t *testing.T, e *env.Env, node string) {
	t.Helper()
	t.Cleanup(func() {
		e.Kubectl(t, "local", "rollout", "undo", "deployment/coredns", "-n", "kube-system")
		e.WaitRollout(t, "kube-system", "deployment/coredns")
	})
	patch := fmt.Sprintf(`{"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": %q, "actual.vk/infra": null}}}}}`, node)
	e.Kubectl(t, "local", "patch", "deployment/coredns", "-n", "kube-system", "--patch", patch)
	e.WaitRollout(t, "kube-system", "deployment/coredns")
	env.Eventually(t, "no other DNS server is left", func(ctx context.Context) error {
		pods, err := e.Local.CoreV1().Pods("kube-system").List(ctx, metav1.ListOptions{LabelSelector: "k8s-app=kube-dns"})
		if err != nil {
			return err
		}
		for i := range pods.Items {
			if pods.Items[i].Spec.NodeName != node {
				return fmt.Errorf("%s is on %s", pods.Items[i].Name, pods.Items[i].Spec.NodeName)
			}
		}
		return nil
	})
	namespace := e.Namespace(t, "resolving")
	e.Apply(t, namespace, server(node))
	e.Apply(t, namespace, env.LocalServer)
	e.WaitRollout(t, namespace, "statefulset/web")
	e.WaitReady(t, namespace, "real")
	e.Pod(namespace, "web-0").WaitAnswers(t, "http://real."+namespace+".svc.cluster.local/hostname", "real")
	e.Pod(namespace, "real").WaitAnswers(t, "http://web-1.headless:8080/hostname", "web-1")
}
