//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// The pods of Crossplane, installed by its own Helm chart, run in the remote
// cluster without knowing it. They install their CRDs into the local cluster,
// elect their leaders there, and serve the objects that users create there.
func TestCrossplane(t *testing.T) {
	env.SkipUnlessSlow(t)
	t.Parallel()
	e := shared
	const module, helmModule, image = "crossplane", "crossplane/helm", "docker.io/crossplane/crossplane"
	crossplane := env.BuildTool(t, module, "crossplane")
	helm := env.BuildTool(t, helmModule, "helm")
	version, source := env.ModuleSource(t, module, "github.com/crossplane/crossplane/v2")
	archive := e.BuildImage(t, image+":"+version, "--entrypoint", "crossplane", "--user", "65532",
		"--add", crossplane+":/usr/local/bin/crossplane",
		"--add", filepath.Join(source, "cluster", "crds")+":/crds",
		"--add", filepath.Join(source, "cluster", "webhookconfigurations")+":/webhookconfigurations")
	e.LoadImage(t, archive, "--cluster", "remote")

	e.StartAKD(t, env.ExampleNode)
	namespace := e.Namespace(t, "crossplane-system")
	t.Cleanup(func() { removeCrossplane(t, e) })
	selector := `nodeSelector.kubernetes\.io/hostname=` + env.ExampleNode
	env.Run(t, exec.Command(helm, "install", "crossplane", filepath.Join(source, "cluster", "charts", "crossplane"),
		"--kubeconfig="+e.Kubeconfig("local"), "--namespace", namespace,
		"--set", "image.repository="+image+",image.tag="+version+",image.pullPolicy=Never", "--set", selector, "--set", "rbacManager."+selector,
		"--wait", "--timeout", "10m"))

	crds := crossplaneCRDs(t, e, "local")
	t.Logf("Crossplane %s runs remotely and has installed %d CRDs locally", version, len(crds))
	if len(crds) < 20 {
		t.Errorf("the local cluster has the CRDs %v: want all of Crossplane's", crds)
	}
	if crds := crossplaneCRDs(t, e, "remote"); len(crds) > 0 {
		t.Errorf("the remote cluster has the CRDs %v: want none of Crossplane's", crds)
	}
	remote, err := e.Remote.CoreV1().Pods(contract.RemoteNamespace(env.ExampleNode, namespace)).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if local := e.Pods(t, namespace); len(remote.Items) != len(local) {
		t.Errorf("%d local and %d remote pods", len(local), len(remote.Items))
	}
	defineXR(t, e)
}

// defineXR has Crossplane create a CRD from a user's definition, and creates an
// object of it as that user.
func defineXR(t *testing.T, e *env.Env) {
	t.Helper()
	e.Apply(t, "default", `
apiVersion: apiextensions.crossplane.io/v2
kind: CompositeResourceDefinition
metadata: {name: databases.example.com}
spec:
  scope: Namespaced
  group: example.com
  names: {kind: Database, plural: databases}
  versions:
  - name: v1
    served: true
    referenceable: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: string}}}}}}
`)
	e.Kubectl(t, "local", "wait", "--for=condition=Established", "compositeresourcedefinition/databases.example.com", "--timeout=3m")
	env.Eventually(t, "users can create a Database", func(context.Context) error {
		_, stderr, err := e.TryKubectl("local", strings.NewReader(`
apiVersion: example.com/v1
kind: Database
metadata: {name: orders, namespace: default}
spec: {size: small}
`), "apply", "-f", "-")
		if err != nil {
			return fmt.Errorf("%s", stderr)
		}
		return nil
	})
	// The local API server calls Crossplane's admission webhook, a pod that runs
	// remotely, which refuses to delete an object that a Usage protects.
	e.Apply(t, "default", `
apiVersion: protection.crossplane.io/v1beta1
kind: Usage
metadata: {name: keep-orders, namespace: default}
spec:
  of: {apiVersion: example.com/v1, kind: Database, resourceRef: {name: orders}}
  reason: it has all the orders
`)
	e.Kubectl(t, "local", "wait", "--for=condition=Ready", "usage.protection.crossplane.io/keep-orders", "-n", "default", "--timeout=3m")
	_, stderr, err := e.TryKubectl("local", nil, "delete", "database.example.com/orders", "-n", "default", "--wait=false")
	if err == nil || !strings.Contains(stderr, "it has all the orders") {
		t.Errorf("a Database that a Usage protects was deleted: %v %s", err, stderr)
	}
}

func crossplaneCRDs(t *testing.T, e *env.Env, side string) []string {
	t.Helper()
	var found []string
	for _, name := range names(t, e, side, "customresourcedefinitions") {
		if strings.HasSuffix(name, ".crossplane.io") {
			found = append(found, name)
		}
	}
	return found
}

// names lists the objects of a kind that has no namespaces.
func names(t *testing.T, e *env.Env, side, kind string) []string {
	t.Helper()
	return strings.Fields(e.Kubectl(t, side, "get", kind, "-o", "jsonpath={.items[*].metadata.name}"))
}

// removeCrossplane deletes the objects that are not in a namespace: webhooks
// without their server would refuse the objects of other tests.
func removeCrossplane(t *testing.T, e *env.Env) {
	t.Helper()
	for _, name := range names(t, e, "local", "validatingwebhookconfigurations") {
		if strings.HasPrefix(name, "crossplane") {
			e.Kubectl(t, "local", "delete", "validatingwebhookconfiguration", name)
		}
	}
	for _, kind := range []string{"usages.protection.crossplane.io", "databases.example.com"} {
		_, _, _ = e.TryKubectl("local", nil, "delete", kind, "--all", "-n", "default", "--timeout=1m")
	}
	_, _, _ = e.TryKubectl("local", nil, "delete", "compositeresourcedefinition", "--all", "--timeout=1m")
	for _, name := range crossplaneCRDs(t, e, "local") {
		e.Kubectl(t, "local", "delete", "customresourcedefinition", name, "--wait=false")
	}
}
