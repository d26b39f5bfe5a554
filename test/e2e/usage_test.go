//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// burner uses a part of a CPU and 48 MiB of memory.
const burner = `
apiVersion: v1
kind: Pod
metadata: {name: burner}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 1
  containers:
  - name: cpu
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, 'while :; do :; done']
    resources: {requests: {cpu: 10m}, limits: {cpu: 200m}}
  - name: memory
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, 'dd if=/dev/zero of=/dev/shm/block bs=1M count=48; trap exit TERM; while :; do sleep 1 & wait; done']
`

// With metrics-server, as its project releases it, in both clusters, kubectl top
// shows what the remote kubelets measure of akd's node and pods. The local one
// verifies akd's serving certificate, which has been approved.
func TestUsage(t *testing.T) {
	env.SkipUnlessSlow(t)
	e := shared
	const module, image = "metrics-server", "registry.k8s.io/metrics-server/metrics-server"
	program := env.BuildTool(t, module, "metrics-server")
	version, source := env.ModuleSource(t, module, "sigs.k8s.io/metrics-server")
	archive := e.BuildImage(t, image+":"+version, "--entrypoint", "/metrics-server", "--user", "65534", "--add", program+":/metrics-server")

	e.Kubectl(t, "local", "delete", "certificatesigningrequests", "--all")
	e.StartAKD(t, env.ExampleNode)
	e.Kubectl(t, "local", "certificate", "approve", e.PendingRequest(t))
	for side, nodeSelector := range map[string]string{"local": `{"actual.vk/infra": "true"}`, "remote": `{"kubernetes.io/os": "linux"}`} {
		e.LoadImage(t, archive, "--cluster", side)
		installMetricsServer(t, e, side, source, fmt.Sprintf(`
resources: [base]
images: [{name: gcr.io/k8s-staging-metrics-server/metrics-server, newName: %s, newTag: %s}]
patches:
- target: {kind: Deployment}
  patch: |
    - op: add
      path: /spec/template/spec/containers/0/args/-
      value: --kubelet-certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt
    - {op: replace, path: /spec/template/spec/containers/0/imagePullPolicy, value: Never}
    - {op: replace, path: /spec/template/spec/nodeSelector, value: %s}
    - {op: add, path: /spec/template/spec/tolerations, value: [{operator: Exists}]}
`, image, version, nodeSelector))
	}
	p := e.Pod(e.Namespace(t, "usage"), "burner")
	e.Apply(t, p.Namespace, fmt.Sprintf(burner, env.ExampleNode))
	for _, side := range []string{"remote", "local"} {
		e.Kubectl(t, side, "rollout", "status", "deployment/metrics-server", "-n", "kube-system", "--timeout=5m")
	}

	const someCPU, someMemory = "50m", "40Mi"
	env.Eventually(t, "kubectl top pod shows what each container uses", func(context.Context) error {
		used, err := top(e, "pod", p.Name, "-n", p.Namespace, "--containers")
		if err != nil {
			return err
		}
		// Each line: pod, container, CPU, memory.
		shown := map[string][]string{}
		for _, line := range used {
			shown[line[1]] = line[2:]
		}
		if len(shown) != 2 || less(t, shown["cpu"][0], someCPU) || less(t, shown["memory"][1], someMemory) {
			return fmt.Errorf("%v", used)
		}
		t.Logf("kubectl top pod --containers: %v", used)
		return nil
	})
	env.Eventually(t, "kubectl top node shows the sum of its pods", func(context.Context) error {
		used, err := top(e, "node", env.ExampleNode)
		if err != nil {
			return err
		}
		// The line: node, CPU, its share, memory, its share.
		if len(used) != 1 || len(used[0]) != 5 || less(t, used[0][1], someCPU) || less(t, used[0][3], someMemory) {
			return fmt.Errorf("%v", used)
		}
		t.Logf("kubectl top node: %v", used)
		return nil
	})
	series := e.Kubectl(t, "local", "get", "--raw", "/api/v1/nodes/"+env.ExampleNode+"/proxy/metrics/cadvisor")
	for _, name := range []string{"container_cpu_usage_seconds_total", "container_memory_working_set_bytes"} {
		// As recording rules for workloads select: a container has an image.
		of := regexp.MustCompile(name + `\{container="memory",.*image="[^"]+",.*namespace="` + p.Namespace + `",pod="burner"\} [0-9]`)
		if !of.MatchString(series) {
			t.Errorf("/metrics/cadvisor has no %s of container memory:\n%s", name, series)
		}
	}
}

// installMetricsServer applies the project's own manifests with a kustomization,
// and deletes them when the test ends.
func installMetricsServer(t *testing.T, e *env.Env, side, source, kustomization string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "base"), os.DirFS(filepath.Join(source, "manifests", "base"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(kustomization), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Kubectl(t, side, "delete", "-k", dir, "--timeout=2m") })
	e.Kubectl(t, side, "apply", "-k", dir)
}

// top returns the fields of each line of kubectl top.
func top(e *env.Env, args ...string) (lines [][]string, err error) {
	out, stderr, err := e.TryKubectl("local", nil, append(append([]string{"top"}, args...), "--no-headers")...)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr)
	}
	for line := range strings.Lines(out) {
		lines = append(lines, strings.Fields(line))
	}
	return lines, nil
}

// less compares two quantities.
func less(t *testing.T, quantity, than string) bool {
	t.Helper()
	q, err := resource.ParseQuantity(quantity)
	if err != nil {
		t.Fatalf("quantity %q: %v", quantity, err)
	}
	return q.Cmp(resource.MustParse(than)) < 0
}
