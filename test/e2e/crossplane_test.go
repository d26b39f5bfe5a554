//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// Crossplane, installed by its own Helm chart: its pods run in the remote
// cluster and know nothing of it. They install their CRDs into the local
// cluster, elect their leaders there, and serve what users make there.
func TestCrossplane(t *testing.T) {
	slow(t)
	t.Parallel()
	b := shared
	const module, helmModule, image = "crossplane", "crossplane/helm", "docker.io/crossplane/crossplane"
	crossplane := buildTool(t, module, "crossplane")
	helm := buildTool(t, helmModule, "helm")
	sources := runs(t, exec.Command("go", "list", "-C", module, "-m", "-f", "{{.Version}} {{.Dir}}", "github.com/crossplane/crossplane/v2"))
	version, source, _ := strings.Cut(strings.TrimSpace(sources), " ")
	archive := filepath.Join(t.TempDir(), "crossplane.tar")
	runs(t, exec.Command(b.clusters, "build-image", archive, "--tag", image+":"+version, "--entrypoint", "crossplane", "--user", "65532",
		"--add", crossplane+":/usr/local/bin/crossplane",
		"--add", filepath.Join(source, "cluster", "crds")+":/crds",
		"--add", filepath.Join(source, "cluster", "webhookconfigurations")+":/webhookconfigurations"))
	runs(t, exec.Command(b.clusters, "--dir", b.dir, "load-image", archive, "--cluster", "remote"))

	b.startAKD(t, exampleNode)
	namespace := b.namespace(t, "crossplane-system")
	t.Cleanup(func() { b.removeCrossplane(t) })
	kubeconfig := "--kubeconfig=" + filepath.Join(b.dir, "local.kubeconfig")
	selector := `nodeSelector.kubernetes\.io/hostname=` + exampleNode
	runs(t, exec.Command(helm, "install", "crossplane", filepath.Join(source, "cluster", "charts", "crossplane"), kubeconfig, "--namespace", namespace,
		"--set", "image.repository="+image+",image.tag="+version+",image.pullPolicy=Never", "--set", selector, "--set", "rbacManager."+selector,
		"--wait", "--timeout", "10m"))

	crds := b.crossplaneCRDs(t, "local")
	t.Logf("Crossplane %s runs remotely and has installed %d CRDs locally", version, len(crds))
	if len(crds) < 20 {
		t.Errorf("the local cluster has the CRDs %v: want all of Crossplane's", crds)
	}
	if crds := b.crossplaneCRDs(t, "remote"); len(crds) > 0 {
		t.Errorf("the remote cluster has the CRDs %v: want none of Crossplane's", crds)
	}
	there, err := b.remote.CoreV1().Pods(translate.RemoteNamespace(exampleNode, namespace)).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if local := b.pods(t, namespace); len(there.Items) != len(local) {
		t.Errorf("%d local and %d remote pods", len(local), len(there.Items))
	}
	b.defineXR(t)
}

// defineXR has Crossplane make a CRD of a user's definition, and lets the user
// make an object of it.
func (b *bed) defineXR(t *testing.T) {
	t.Helper()
	b.apply(t, "default", `
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
	b.kubectl(t, "local", "wait", "--for=condition=Established", "compositeresourcedefinition/databases.example.com", "--timeout=3m")
	eventually(t, "users can make a Database", func(context.Context) error {
		_, stderr, err := b.tryKubectl("local", strings.NewReader(`
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
	// Crossplane's admission webhook: the local API server calls a pod that runs
	// remotely. It refuses to delete what a Usage protects.
	b.apply(t, "default", `
apiVersion: protection.crossplane.io/v1beta1
kind: Usage
metadata: {name: keep-orders, namespace: default}
spec:
  of: {apiVersion: example.com/v1, kind: Database, resourceRef: {name: orders}}
  reason: it has all the orders
`)
	b.kubectl(t, "local", "wait", "--for=condition=Ready", "usage.protection.crossplane.io/keep-orders", "-n", "default", "--timeout=3m")
	_, stderr, err := b.tryKubectl("local", nil, "delete", "database.example.com/orders", "-n", "default", "--wait=false")
	if err == nil || !strings.Contains(stderr, "it has all the orders") {
		t.Errorf("a Database that a Usage protects was deleted: %v %s", err, stderr)
	}
}

func (b *bed) crossplaneCRDs(t *testing.T, side string) []string {
	t.Helper()
	var found []string
	for name := range strings.FieldsSeq(b.kubectl(t, side, "get", "customresourcedefinitions", "-o", "jsonpath={.items[*].metadata.name}")) {
		if strings.HasSuffix(name, ".crossplane.io") {
			found = append(found, name)
		}
	}
	return found
}

// removeCrossplane takes away what is not in a namespace: webhooks without
// their server would refuse other tests' objects.
func (b *bed) removeCrossplane(t *testing.T) {
	t.Helper()
	for name := range strings.FieldsSeq(b.kubectl(t, "local", "get", "validatingwebhookconfigurations", "-o", "jsonpath={.items[*].metadata.name}")) {
		if strings.HasPrefix(name, "crossplane") {
			b.kubectl(t, "local", "delete", "validatingwebhookconfiguration", name)
		}
	}
	for _, kind := range []string{"usages.protection.crossplane.io", "databases.example.com"} {
		_, _, _ = b.tryKubectl("local", nil, "delete", kind, "--all", "-n", "default", "--timeout=1m")
	}
	_, _, _ = b.tryKubectl("local", nil, "delete", "compositeresourcedefinition", "--all", "--timeout=1m")
	for _, name := range b.crossplaneCRDs(t, "local") {
		b.kubectl(t, "local", "delete", "customresourcedefinition", name, "--wait=false")
	}
}

// buildTool builds the one program of a module of tools. The first time takes
// minutes; then Go's build cache has nearly all of it.
func buildTool(t *testing.T, module, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-C", module, "-trimpath", "-o", file, "tool")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	runs(t, build)
	return file
}

// runs runs a command that must succeed and returns its standard output.
func runs(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out, stderr.String())
	}
	return string(out)
}
