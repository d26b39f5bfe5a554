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

// deployment is one whose pods say where they are, and have a token and a Secret.
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

// Two nodes share one remote cluster, each as a tenant, and one's name begins
// with the other's: real controllers, logs and exec work as they do for an
// administrator, and a restart finds by the record what became superfluous.
func TestTenants(t *testing.T) {
	e := shared
	nodes := []string{"ten", "ten-ant"}
	tenants, daemons := map[string]*env.Tenant{}, map[string]*env.AKD{}
	for _, node := range nodes {
		tenants[node] = e.InstallTenant(t, manifests.Values{Node: node})
	}
	daemons["ten"] = e.StartAKD(t, "ten", tenants["ten"].Args("--unused-namespace-ttl", "10s")...)
	daemons["ten-ant"] = e.StartAKD(t, "ten-ant", tenants["ten-ant"].Args("--kubelet-api-port", "10251", "--metrics-address", "")...)
	for _, node := range nodes {
		namespace := e.Namespace(t, "deployed-on-"+node)
		e.Apply(t, namespace, deployment(node))
	}
	for _, node := range nodes {
		namespace := "deployed-on-" + node
		e.WaitRollout(t, namespace, "deployment/web")
		pod := e.Pods(t, namespace)[0].Name
		if log := e.Kubectl(t, "local", "logs", pod, "-n", namespace); log != "up on "+node+"\n" {
			t.Errorf("a pod of node %s logs %q", node, log)
		}
		if out := e.Kubectl(t, "local", "exec", pod, "-n", namespace, "--", "cat", "/password/password"); out != "secret of "+node {
			t.Errorf("in a pod of node %s: %q", node, out)
		}
		isRecorded(t, e, node, namespace)
	}
	testOrphanByRecord(t, daemons["ten"])
	testRecordLost(t, "ten")
	testNamespaceRetired(t, "ten")
}

// isRecorded waits until the record of the node names exactly the namespaces.
func isRecorded(t *testing.T, e *env.Env, node string, namespaces ...string) {
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

// A pod whose record is forced away while akd is dead leaves its containers.
func testOrphanByRecord(t *testing.T, d *env.AKD) {
	e, namespace := shared, "deployed-on-"+d.Node
	d.Stop(t, syscall.SIGKILL)
	e.Kubectl(t, "local", "delete", "deployment", "web", "-n", namespace)
	e.Kubectl(t, "local", "delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")
	d.Start(t)
	env.Eventually(t, "the remote pods without local ones go", func(ctx context.Context) error {
		left, err := e.Remote.CoreV1().Pods(contract.RemoteNamespace(d.Node, namespace)).List(ctx, metav1.ListOptions{})
		if err == nil && len(left.Items) > 0 {
			return fmt.Errorf("%d are left", len(left.Items))
		}
		return err
	})
	d.WaitReady(t)
}

// Somebody deletes the record while pods run: akd writes it anew.
func testRecordLost(t *testing.T, node string) {
	e, namespace := shared, "deployed-on-"+node
	e.Apply(t, namespace, deployment(node))
	e.WaitRollout(t, namespace, "deployment/web")
	e.Kubectl(t, "remote", "delete", "configmap", contract.RecordName(node), "-n", contract.SystemNamespace)
	isRecorded(t, e, node, namespace)
}

// What no pod uses any more goes: the namespace first, then its entry.
func testNamespaceRetired(t *testing.T, node string) {
	e, namespace := shared, "deployed-on-"+node
	e.Kubectl(t, "local", "delete", "deployment", "web", "-n", namespace)
	env.Eventually(t, "the remote namespace goes", func(ctx context.Context) error {
		_, err := e.Remote.CoreV1().Namespaces().Get(ctx, contract.RemoteNamespace(node, namespace), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
	isRecorded(t, e, node)
}

// Without a capacity, a tenant that may not list nodes is told what to do.
func TestTenantWithoutCapacity(t *testing.T) {
	e := shared
	tn := e.InstallTenant(t, manifests.Values{Node: "unmeasured"})
	d := e.LaunchAKD(t, "unmeasured", "--remote-kubeconfig", tn.Kubeconfig)
	d.WaitExit(t, 2, "--node-capacity")
}

// With the right to list nodes, it learns its capacity as an administrator does.
func TestTenantReadsNodes(t *testing.T) {
	e := shared
	tn := e.InstallTenant(t, manifests.Values{Node: "measured", ReadNodes: true})
	e.StartAKD(t, "measured", "--remote-kubeconfig", tn.Kubeconfig)
	node, err := e.Local.CoreV1().Nodes().Get(t.Context(), "measured", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if node.Status.Capacity.Cpu().IsZero() {
		t.Errorf("its capacity is %v", node.Status.Capacity)
	}
}

// Each limit that the configuration asks for is in the namespace before the
// first pod, and the pod that it refuses says so. Without the right to make
// it, pods wait rather than run without it.
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
	d := e.StartAKD(t, "limited", without.Args("--config", file)...)
	namespace := e.Namespace(t, "limited")
	remote := contract.RemoteNamespace("limited", namespace)
	e.Apply(t, namespace, deployment("limited"))
	pendsBecause(t, e, namespace, `cannot create resource "resourcequotas"`)

	e.ApplyRemote(t, manifests.Values{Node: "limited", Limits: manifests.Limits{ResourceQuota: true, LimitRange: true, NetworkPolicy: true}})
	pendsBecause(t, e, namespace, "exceeded quota: actual-vk") // the second of two
	e.Kubectl(t, "remote", "get", "resourcequota/actual-vk", "limitrange/actual-vk", "networkpolicy/actual-vk", "-n", remote)
	if cpu := e.Kubectl(t, "remote", "get", "pods", "-n", remote, "-o", "jsonpath={.items[*].spec.containers[*].resources.requests.cpu}"); cpu != "10m" {
		t.Errorf("the pods request %q of cpu", cpu)
	}
	d.Stop(t, syscall.SIGTERM)
	d.Start(t) // what is there already is no error
	d.WaitReady(t)
}

// pendsBecause waits until some pod says, in its conditions, why it does not start.
func pendsBecause(t *testing.T, e *env.Env, namespace, why string) {
	t.Helper()
	env.Eventually(t, "a pod pends because "+why, func(ctx context.Context) error {
		list, err := e.Local.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var said []string
		for i := range list.Items {
			for _, condition := range list.Items[i].Status.Conditions {
				if strings.Contains(condition.Message, why) {
					return nil
				}
				said = append(said, condition.Message)
			}
		}
		return fmt.Errorf("%q", said)
	})
}
