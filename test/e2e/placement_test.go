//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// placed is a remote cluster with two nodes in zones a and b, and a tenant whose provider
// lets pods choose zones, a runtime class and a priority class.
type placed struct {
	*env.Env

	node string
}

const placementConfiguration = `
apiVersion: actual.vk/v1alpha1
kind: AKDConfiguration
pods:
  placement:
    nodeLabels: [topology.kubernetes.io/zone]
    runtimeClasses: {sandbox: placed-sandbox}
    priorityClasses: {placed-high: placed-tenants}
`

// placementClasses are those of both clusters.
const placementClasses = `
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: %[1]s}
handler: runc
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: %[2]s}
value: 1000
`

// TestPlacement shows on two real remote nodes where pods run, and what becomes of them
// when somebody drains one.
func TestPlacement(t *testing.T) { //nolint:tparallel // the subtests share the nodes
	env.SkipUnlessSlow(t)
	t.Parallel() // its clusters are its own
	p := &placed{Env: env.UpAlone(t, "--remote-nodes=2"), node: "placed"}
	p.Kubectl(t, "remote", "label", "node", "remote-1", "topology.kubernetes.io/zone=a")
	p.Kubectl(t, "remote", "label", "node", "remote-2", "topology.kubernetes.io/zone=b")
	p.applyTo(t, "local", fmt.Sprintf(placementClasses, "sandbox", "placed-high"))
	p.applyTo(t, "remote", fmt.Sprintf(placementClasses, "placed-sandbox", "placed-tenants"))
	p.applyTo(t, "local", fmt.Sprintf(placementClasses, "other", "placed-other"))
	values := manifests.Values{Node: p.node, ReadNodes: true}
	values.Placement.NodeLabels = []string{corev1.LabelTopologyZone}
	values.Placement.MoreRuntimeClasses = []string{"placed-sandbox"}
	values.Placement.MorePriorityClasses = []string{"placed-tenants"}
	tenant := p.InstallTenant(t, values)
	config := filepath.Join(t.TempDir(), "akd.yaml")
	if err := os.WriteFile(config, []byte(placementConfiguration), 0o600); err != nil {
		t.Fatal(err)
	}
	p.StartAKD(t, p.node, "--remote-kubeconfig", tenant.Kubeconfig, "--config", config)
	t.Run("zones", p.choosesZones)
	t.Run("topology labels", p.agreesOnTopology)
	t.Run("classes", p.choosesClasses)
	t.Run("what is left out", p.tellsWhatIsLeftOut)
	t.Run("a large pod", p.refusesLargePods)
	t.Run("spread", p.spreads)
	t.Run("drain", p.drains) // the last one: it cordons a node
}

func (p *placed) applyTo(t *testing.T, side, manifest string) {
	t.Helper()
	if out, stderr, err := p.TryKubectl(side, strings.NewReader(manifest), "apply", "-f", "-"); err != nil {
		t.Fatalf("apply to the %s cluster: %v\n%s%s", side, err, out, stderr)
	}
}

// pod is a pod of the node with more in its spec.
func (p *placed) pod(name, spec string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec:
  nodeSelector: {kubernetes.io/hostname: %[2]s}
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: "busybox:1.36", imagePullPolicy: Never, command: [sleep, "3600"]}
%[3]s`, name, p.node, spec)
}

// machines counts the live remote pods of a namespace on each remote node.
func (p *placed) machines(ctx context.Context, namespace string) (map[string]int, error) {
	found, err := p.Remote.CoreV1().Pods(contract.RemoteNamespace(p.node, namespace)).List(ctx, metav1.ListOptions{})
	counts := map[string]int{}
	for i := range found.Items {
		if pod := &found.Items[i]; pod.DeletionTimestamp == nil && pod.Status.Phase == corev1.PodRunning {
			counts[pod.Spec.NodeName]++
		}
	}
	return counts, err
}

func (p *placed) remote(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	pod, err := p.Remote.CoreV1().Pods(contract.RemoteNamespace(p.node, namespace)).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// choosesZones: half of the pods that required one zone used to run in the other.
func (p *placed) choosesZones(t *testing.T) {
	namespace := p.Namespace(t, "zones")
	const affinity = `
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
        - matchExpressions: [{key: topology.kubernetes.io/zone, operator: NotIn, values: [%s]}]
`
	want := map[string]string{}
	for i := range 4 {
		inA, inB := fmt.Sprint("a-", i), fmt.Sprint("b-", i)
		want[inA], want[inB] = "remote-1", "remote-2"
		p.Apply(t, namespace, p.pod(inA, fmt.Sprintf(affinity, "b")))
		p.Apply(t, namespace, p.pod(inB, fmt.Sprintf(affinity, "a")))
	}
	p.WaitReady(t, namespace, slices.Sorted(maps.Keys(want))...)
	for name, node := range want {
		if on := p.remote(t, namespace, name).Spec.NodeName; on != node {
			t.Errorf("pod %s runs on %s, want %s", name, on, node)
		}
	}
}

// agreesOnTopology: the remote API server labels pods with the zone of their remote node.
// What a pod sees is what its local labels say, and both sides' labels stay.
func (p *placed) agreesOnTopology(t *testing.T) {
	namespace := p.Namespace(t, "topology")
	const variables, label = `
    env: [{name: ZONE, valueFrom: {fieldRef: {fieldPath: "metadata.labels['topology.kubernetes.io/zone']"}}}]
    volumeMounts: [{name: about, mountPath: /about}]
  volumes: [{name: about, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}]
`, "topology.kubernetes.io/zone"
	labelled := strings.Replace(p.pod("labelled", ""), "labels: {", "labels: {"+label+": mine, ", 1)
	flow := `  - {name: main, image: "busybox:1.36", imagePullPolicy: Never, command: [sleep, "3600"]}`
	block := "  - name: main\n    image: busybox:1.36\n    imagePullPolicy: Never\n    command: [sleep, \"3600\"]" + variables
	p.Apply(t, namespace, strings.Replace(labelled, flow, block, 1))
	p.WaitReady(t, namespace, "labelled")
	zone := map[string]string{"remote-1": "a", "remote-2": "b"}[p.remote(t, namespace, "labelled").Spec.NodeName]
	p.Kubectl(t, "local", "label", "pod", "labelled", "more=yes", "-n", namespace)
	p.Env.Pod(namespace, "labelled").Eventually(t, "the labels agree", func(local *corev1.Pod) error {
		remote := p.remote(t, namespace, "labelled")
		if remote.Labels["more"] != "yes" || remote.Labels[label] != zone || local.Labels[label] != "mine" {
			return fmt.Errorf("remote labels %v, local labels %v", remote.Labels, local.Labels)
		}
		return nil
	})
	out := p.Env.Pod(namespace, "labelled").Shell(t, "echo $ZONE; grep zone /about/labels")
	if out != "mine\n"+label+"=\"mine\"\n" {
		t.Errorf("the pod sees its zone as %q, want mine", out)
	}
}

// choosesClasses: a pod that asks for a sandbox does not run without one.
func (p *placed) choosesClasses(t *testing.T) {
	namespace := p.Namespace(t, "classes")
	p.Apply(t, namespace, p.pod("mapped", "  runtimeClassName: sandbox\n  priorityClassName: placed-high\n"))
	p.Apply(t, namespace, p.pod("other-priority", "  priorityClassName: placed-other\n"))
	p.Apply(t, namespace, p.pod("other-runtime", "  runtimeClassName: other\n"))
	p.WaitReady(t, namespace, "mapped", "other-priority")
	mapped := p.remote(t, namespace, "mapped")
	if runtime := mapped.Spec.RuntimeClassName; runtime == nil || *runtime != "placed-sandbox" {
		t.Errorf("the remote pod has runtime class %v, want placed-sandbox", runtime)
	}
	if priority := mapped.Spec.PriorityClassName; priority != "placed-tenants" {
		t.Errorf("the remote pod has priority class %q, want placed-tenants", priority)
	}
	if priority := p.remote(t, namespace, "other-priority").Spec.PriorityClassName; priority != "" {
		t.Errorf("the remote pod of a class that is not mapped has priority class %q, want none", priority)
	}
	p.Env.Pod(namespace, "other-runtime").WaitEvent(t, translate.ReasonUnsupportedRuntimeClass, `has only RuntimeClass "sandbox"`)
}

func (p *placed) tellsWhatIsLeftOut(t *testing.T) {
	namespace := p.Namespace(t, "left-out")
	p.Apply(t, namespace, p.pod("web", `
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
        - matchExpressions: [{key: example.com/rack, operator: DoesNotExist}]
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: web}}}
`))
	p.WaitReady(t, namespace, "web")
	pod := p.Env.Pod(namespace, "web")
	pod.WaitEvent(t, translate.ReasonRequirementsLeftOut, "node label example.com/rack")
	pod.WaitEvent(t, translate.ReasonOnePerNode, "a second such pod stays Pending")
}

// refusesLargePods: a pod that fits no single machine was bound, and held what others
// could have used.
func (p *placed) refusesLargePods(t *testing.T) {
	machine, err := p.Remote.CoreV1().Nodes().Get(t.Context(), "remote-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	size := machine.Status.Allocatable.Cpu().MilliValue()
	namespace := p.Namespace(t, "large")
	p.Apply(t, namespace, strings.Replace(p.pod("large", ""), "command:",
		fmt.Sprintf("resources: {requests: {cpu: %dm}}, command:", size*3/2), 1))
	p.Env.Pod(namespace, "large").Eventually(t, "the pod is out of cpu", func(pod *corev1.Pod) error {
		if pod.Status.Reason != "OutOfcpu" {
			return fmt.Errorf("the pod is %s: %s: %s", pod.Status.Phase, pod.Status.Reason, pod.Status.Message)
		}
		return nil
	})
}

// spreads: six replicas used to run on one machine, all of them.
func (p *placed) spreads(t *testing.T) {
	namespace := p.Namespace(t, "spread")
	p.Apply(t, namespace, strings.Replace(env.Web(p.node, 6), "      nodeName: \"\"\n", `
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: DoNotSchedule
        labelSelector: {matchLabels: {app: web}}
        matchLabelKeys: [pod-template-hash]
`, 1))
	for restart := range 11 {
		if restart > 0 {
			p.Kubectl(t, "local", "rollout", "restart", "deployment/web", "-n", namespace)
		}
		p.WaitRollout(t, namespace, "deployment/web")
		p.wantMachines(t, namespace, map[string]int{"remote-1": 3, "remote-2": 3})
	}
}

func (p *placed) wantMachines(t *testing.T, namespace string, want map[string]int) {
	t.Helper()
	env.Eventually(t, fmt.Sprintf("the pods run as %v", want), func(ctx context.Context) error {
		got, err := p.machines(ctx, namespace)
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("they run as %v", got)
		}
		return err
	})
}

// drains: the administrator of the remote cluster drains a node as any other. A naked pod
// would be lost, and is left alone.
func (p *placed) drains(t *testing.T) {
	namespace := p.Namespace(t, "drained")
	p.Apply(t, namespace, env.Web(p.node, 4))
	p.Apply(t, namespace, p.pod("naked", "  nodeName: "+p.node+"\n"))
	p.WaitRollout(t, namespace, "deployment/web")
	p.WaitReady(t, namespace, "naked")
	node := p.remote(t, namespace, "naked").Spec.NodeName
	other := map[string]string{"remote-1": "remote-2", "remote-2": "remote-1"}[node]
	drain := []string{"drain", node, "--ignore-daemonsets", "--timeout=3m", "--pod-selector=" + contract.LabelNodeName + "=" + p.node}
	_, stderr, err := p.TryKubectl("remote", nil, drain...)
	if err == nil || !strings.Contains(stderr, "declare no controller") || strings.Contains(stderr, "web-") {
		t.Errorf("drain with a naked pod: %v\n%s\nwant that it refuses that pod alone", err, stderr)
	}
	p.Kubectl(t, "local", "delete", "pod", "naked", "-n", namespace)
	p.Kubectl(t, "remote", drain...)
	p.WaitRollout(t, namespace, "deployment/web")
	p.wantMachines(t, namespace, map[string]int{other: 4})
}
