//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// deployment is one whose pods log their node, and have a token and a Secret.
func deployment(node string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: password}
stringData: {password: secret of %[1]s}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {kubernetes.io/hostname: %[1]s}
      tolerations: [{operator: Exists}]
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: busybox:1.36
        imagePullPolicy: Never
        command: [sh, -c, 'echo up on %[1]s; trap exit TERM; while :; do sleep 1 & wait; done']
        volumeMounts: [{name: password, mountPath: /password}]
      volumes: [{name: password, secret: {secretName: password}}]
`, node)
}

// Two nodes, the name of one beginning with the name of the other, share one
// remote cluster as tenants: controllers, logs and exec work as they do for an
// administrator, and after a restart akd finds its orphans by its record.
func TestTenants(t *testing.T) {
	e := shared
	nodes := []string{"ten", "ten-ant"}
	first := e.InstallTenant(t, manifests.Values{Node: "ten"})
	second := e.InstallTenant(t, manifests.Values{Node: "ten-ant"})
	akd := e.StartAKD(t, "ten", first.Args("--unused-namespace-ttl", "10s")...)
	e.StartAKD(t, "ten-ant", second.Args("--kubelet-api-port", "10251", "--metrics-address", "")...)
	for _, node := range nodes {
		namespace := e.Namespace(t, "deployed-on-"+node)
		e.Apply(t, namespace, deployment(node))
	}
	for _, node := range nodes {
		namespace := "deployed-on-" + node
		e.WaitRollout(t, namespace, "deployment/web")
		pod := e.Pods(t, namespace)[0].Name
		if log := e.Kubectl(t, "local", "logs", pod, "-n", namespace); log != "up on "+node+"\n" {
			t.Errorf("the log of a pod of node %s is %q", node, log)
		}
		if out := e.Kubectl(t, "local", "exec", pod, "-n", namespace, "--", "cat", "/password/password"); out != "secret of "+node {
			t.Errorf("in a pod of node %s: %q", node, out)
		}
		waitRecord(t, e, node, namespace)
	}
	testOrphanByRecord(t, akd)
	testRecordLost(t, "ten")
	testNamespaceRetired(t, "ten")
}

// waitRecord waits until the record of the node has exactly these namespaces.
func waitRecord(t *testing.T, e *env.Env, node string, namespaces ...string) {
	t.Helper()
	want := map[string]string{}
	for _, namespace := range namespaces {
		want[contract.RemoteNamespace(node, namespace)] = namespace
	}
	env.Within(t, 2*env.Timeout, fmt.Sprintf("the record of node %s is %v", node, want), func(ctx context.Context) error {
		record, err := e.Remote.CoreV1().ConfigMaps(contract.SystemNamespace).Get(ctx, contract.RecordName(node), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if fmt.Sprint(record.Data) != fmt.Sprint(want) {
			return fmt.Errorf("it is %v", record.Data)
		}
		return nil
	})
}

// The remote pods of pods that were force-deleted while akd was dead end.
func testOrphanByRecord(t *testing.T, akd *env.AKD) {
	e, namespace := shared, "deployed-on-"+akd.Node
	akd.Stop(t, syscall.SIGKILL)
	e.Kubectl(t, "local", "delete", "deployment", "web", "-n", namespace)
	e.Kubectl(t, "local", "delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")
	akd.Start(t)
	env.Eventually(t, "the remote pods without local ones are gone", func(ctx context.Context) error {
		left, err := e.Remote.CoreV1().Pods(contract.RemoteNamespace(akd.Node, namespace)).List(ctx, metav1.ListOptions{})
		if err == nil && len(left.Items) > 0 {
			return fmt.Errorf("%d are left", len(left.Items))
		}
		return err
	})
	akd.WaitReady(t)
}

// If somebody deletes the record while pods run, akd writes it again.
func testRecordLost(t *testing.T, node string) {
	e, namespace := shared, "deployed-on-"+node
	e.Apply(t, namespace, deployment(node))
	e.WaitRollout(t, namespace, "deployment/web")
	e.Kubectl(t, "remote", "delete", "configmap", contract.RecordName(node), "-n", contract.SystemNamespace)
	waitRecord(t, e, node, namespace)
}

// A namespace that no pod uses is deleted, and then its entry in the record.
func testNamespaceRetired(t *testing.T, node string) {
	e, namespace := shared, "deployed-on-"+node
	e.Kubectl(t, "local", "delete", "deployment", "web", "-n", namespace)
	env.Eventually(t, "the remote namespace is gone", func(ctx context.Context) error {
		_, err := e.Remote.CoreV1().Namespaces().Get(ctx, contract.RemoteNamespace(node, namespace), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it still exists"), err)
	})
	waitRecord(t, e, node)
}

// Without the right to list nodes, akd needs a configured capacity, and says so.
func TestTenantWithoutCapacity(t *testing.T) {
	e := shared
	tenant := e.InstallTenant(t, manifests.Values{Node: "unmeasured"})
	akd := e.LaunchAKD(t, "unmeasured", "--remote-kubeconfig", tenant.Kubeconfig)
	akd.WaitExit(t, 2, "--node-capacity")
}

// With the right to list nodes, akd computes the node's capacity from them.
func TestTenantReadsNodes(t *testing.T) {
	e := shared
	tenant := e.InstallTenant(t, manifests.Values{Node: "measured", ReadNodes: true})
	e.StartAKD(t, "measured", "--remote-kubeconfig", tenant.Kubeconfig)
	node, err := e.Local.CoreV1().Nodes().Get(t.Context(), "measured", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if node.Status.Capacity.Cpu().IsZero() {
		t.Errorf("its capacity is %v", node.Status.Capacity)
	}
}

// Configured limits are in the namespace before the first pod, and a pod that
// they refuse says so. Without the right to create them, pods do not run without
// limits; they stay Pending.
func TestTenantLimits(t *testing.T) {
	e := shared
	file := filepath.Join(t.TempDir(), "akd.yaml")
	content := `
apiVersion: actual.vk/v1alpha1
kind: AKDConfiguration
nodeName: limited
namespaces:
  resourceQuota: {pods: 1}
  limitRange: [{type: Container, defaultRequest: {cpu: 10m}}]
  networkPolicy: {enabled: true, allowFrom: [10.244.0.0/16]}
`
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	without := e.InstallTenant(t, manifests.Values{Node: "limited"})
	akd := e.StartAKD(t, "limited", without.Args("--config", file)...)
	namespace := e.Namespace(t, "limited")
	remote := contract.RemoteNamespace("limited", namespace)
	e.Apply(t, namespace, deployment("limited"))
	waitPending(t, e, namespace, `cannot create resource "resourcequotas"`)

	all := manifests.Limits{ResourceQuota: true, LimitRange: true, NetworkPolicy: true}
	e.ApplyRemote(t, manifests.Values{Node: "limited", Limits: all})
	waitPending(t, e, namespace, "exceeded quota: actual-vk") // the second of two
	e.Kubectl(t, "remote", "get", "resourcequota/actual-vk", "limitrange/actual-vk", "networkpolicy/actual-vk", "-n", remote)
	const request = "jsonpath={.items[*].spec.containers[*].resources.requests.cpu}"
	if cpu := e.Kubectl(t, "remote", "get", "pods", "-n", remote, "-o", request); cpu != "10m" {
		t.Errorf("the pods request %q of CPU, want 10m", cpu)
	}
	akd.Stop(t, syscall.SIGTERM)
	akd.Start(t) // limits that exist already are no error
	akd.WaitReady(t)
}

// waitPending waits until a condition of some pod contains the reason for which
// it does not start.
func waitPending(t *testing.T, e *env.Env, namespace, reason string) {
	t.Helper()
	env.Eventually(t, "a pod is Pending because "+reason, func(ctx context.Context) error {
		list, err := e.Local.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var others []string
		for i := range list.Items {
			for _, condition := range list.Items[i].Status.Conditions {
				if strings.Contains(condition.Message, reason) {
					return nil
				}
				others = append(others, condition.Message)
			}
		}
		return fmt.Errorf("only %q", others)
	})
}
