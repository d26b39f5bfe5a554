package translate

import (
	"cmp"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func portPod(uid string, ports ...corev1.ContainerPort) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "pod-" + uid, UID: types.UID(uid)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Ports: ports}}},
	}
}

// roomyNode takes any pod.
func roomyNode() *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "vk", Labels: map[string]string{"disk": "ssd"}},
		Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
			corev1.ResourcePods: resource.MustParse("10"), corev1.ResourceCPU: resource.MustParse("2"),
			corev1.ResourceMemory: resource.MustParse("1Gi"),
		}},
	}
}

func sized(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

// A pod that was bound past the scheduler is held against the node, in the
// words of a kubelet.
func TestAdmitByNode(t *testing.T) {
	t.Parallel()
	asks := func(requests corev1.ResourceList) *corev1.Pod {
		return &corev1.Pod{
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Resources: corev1.ResourceRequirements{Requests: requests}}}},
		}
	}
	cpus := func(n string) *corev1.Pod {
		return asks(corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(n)})
	}
	critical := cpus("3")
	critical.Spec.Priority = new(int32(systemCritical))
	overhead := cpus("1500m")
	overhead.Spec.Overhead = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("600m")}
	initial := cpus("1")
	initial.Spec.InitContainers = []corev1.Container{{Name: "init", Resources: cpus("3").Spec.Containers[0].Resources}}
	selects, matches := cpus("1"), cpus("1")
	selects.Spec.NodeSelector, matches.Spec.NodeSelector = map[string]string{"disk": "tape"}, map[string]string{"disk": "ssd"}
	tainted := roomyNode()
	tainted.Spec.Taints = []corev1.Taint{
		{Key: "maintenance", Effect: corev1.TaintEffectNoExecute},
		{Key: "quiet", Effect: corev1.TaintEffectNoSchedule},
	}
	tolerates := cpus("1")
	tolerates.Spec.Tolerations = []corev1.Toleration{{Key: "maintenance", Operator: corev1.TolerationOpExists}}
	debugger := cpus("1")
	debugger.Name, debugger.Spec.NodeName = "node-debugger-vk-x2x4k", "vk"
	debugger.Spec.Volumes = []corev1.Volume{{
		Name:         "host-root",
		VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}},
	}}
	tests := map[string]struct {
		reason  string
		pod     *corev1.Pod
		node    *corev1.Node
		used    Amounts
		sizes   []corev1.ResourceList
		want    string
		message string
	}{
		"fits": {reason: "two of two CPUs are there", pod: cpus("2")},
		"CPU": {
			reason:  "what others have is not there",
			pod:     cpus("1500m"),
			used:    Amounts{corev1.ResourceCPU: 1000},
			want:    "OutOfcpu",
			message: "Pod was rejected: Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000",
		},
		"memory": {
			reason:  "in bytes",
			pod:     asks(corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")}),
			want:    "OutOfmemory",
			message: "Pod was rejected: Node didn't have enough resource: memory, requested: 2147483648, used: 0, capacity: 1073741824",
		},
		"pods": {
			reason:  "pods are counted, whatever they ask for",
			pod:     asks(nil),
			used:    Amounts{corev1.ResourcePods: 10},
			want:    "OutOfpods",
			message: "Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: 10, capacity: 10",
		},
		"nothing": {reason: "who asks for nothing fits onto a full node", pod: asks(nil), used: Amounts{corev1.ResourceCPU: 5000}},
		"not listed": {
			reason: "what the node does not list is not the node's",
			pod:    asks(corev1.ResourceList{"example.com/gpu": resource.MustParse("1")}),
		},
		"critical": {reason: "a kubelet would make room", pod: critical},
		"overhead": {
			reason:  "a sandbox takes its part",
			pod:     overhead,
			want:    "OutOfcpu",
			message: "Pod was rejected: Node didn't have enough resource: cpu, requested: 2100, used: 0, capacity: 2000",
		},
		"init": {
			reason:  "so does the most demanding initial container",
			pod:     initial,
			want:    "OutOfcpu",
			message: "Pod was rejected: Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000",
		},
		"too large": {
			reason:  "the node is several machines, and none of them has two CPUs",
			pod:     cpus("2"),
			sizes:   []corev1.ResourceList{sized("1", "4Gi"), sized("1500m", "1Gi")},
			want:    "OutOfcpu",
			message: "Pod was rejected: No node of the remote cluster is large enough: cpu, requested: 2000, on the one that fits best: 1000",
		},
		"as large as one": {
			reason: "one of the machines has two CPUs, whatever else runs there",
			pod:    cpus("2"),
			sizes:  []corev1.ResourceList{sized("1", "4Gi"), sized("2", "1Gi")},
		},
		"too large together": {
			reason: "one machine has the CPUs, the other one the memory",
			pod: asks(corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("1Gi"),
			}),
			sizes: []corev1.ResourceList{sized("2", "512Mi"), sized("1", "4Gi")},
			want:  "OutOfmemory",
			message: "Pod was rejected: No node of the remote cluster is large enough: memory, requested: 1073741824, " +
				"on the one that fits best: 536870912",
		},
		"no machine has it": {
			reason: "what is not listed is not managed, and what one of them lists is",
			pod:    asks(corev1.ResourceList{"example.com/gpu": resource.MustParse("1")}),
			sizes:  []corev1.ResourceList{sized("2", "1Gi")},
		},
		"another machine has it": {
			reason: "the GPU's machine is too small",
			pod: asks(corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("2"), "example.com/gpu": resource.MustParse("1"),
			}),
			sizes:   []corev1.ResourceList{sized("2", "1Gi"), {"example.com/gpu": resource.MustParse("1")}},
			want:    "OutOfexample.com/gpu",
			message: "Pod was rejected: No node of the remote cluster is large enough: example.com/gpu, requested: 1, on the one that fits best: 0",
		},
		"critical and too large": {reason: "the remote cluster decides", pod: critical, sizes: []corev1.ResourceList{sized("1", "1Gi")}},
		"affinity": {
			reason:  "the node is not the one that was selected",
			pod:     selects,
			want:    "NodeAffinity",
			message: "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
		},
		"matches": {reason: "it is", pod: matches},
		"taint": {
			reason:  "the pod would be evicted",
			pod:     cpus("1"),
			node:    tainted,
			want:    "TaintToleration",
			message: "Pod was rejected: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate",
		},
		"tolerates": {reason: "it would not; other effects are the scheduler's", pod: tolerates, node: tainted},
		"debug": {
			reason: "kubectl debug node/vk must not wait for a pod that shows another node's host",
			pod:    debugger,
			want:   "NoHost",
			message: "Pod was rejected: node vk has no host of its own. Its pods run on nodes of the remote cluster: " +
				"kubectl actual where -A shows on which, and kubectl debug works there",
		},
		"first reason": {
			reason:  "a kubelet tells the first one",
			pod:     cpus("3"),
			node:    tainted,
			want:    "OutOfcpu",
			message: "Pod was rejected: Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Admit(tc.pod, cmp.Or(tc.node, roomyNode()), tc.used, tc.sizes, func() []*corev1.Pod { return nil })
			if got.Reason != tc.want || got.Message != tc.message {
				t.Errorf("%s: rejected with %q %q, want %q %q", tc.reason, got.Reason, got.Message, tc.want, tc.message)
			}
		})
	}
}

func TestAdmitPorts(t *testing.T) {
	t.Parallel()
	tcp := corev1.ContainerPort{HostPort: 8080}
	sidecar := portPod("2")
	always := corev1.ContainerRestartPolicyAlways
	sidecar.Spec.InitContainers = []corev1.Container{{Name: "sidecar", RestartPolicy: &always, Ports: []corev1.ContainerPort{tcp}}}
	tests := map[string]struct {
		reason string
		pod    *corev1.Pod
		other  *corev1.Pod
		want   string
	}{
		"taken":        {"a node has each port once", portPod("1", tcp), portPod("2", tcp), ReasonNodePorts},
		"itself":       {"a pod does not stand in its own way", portPod("1", tcp), portPod("1", tcp), ""},
		"another port": {"other ports are free", portPod("1", tcp), portPod("2", corev1.ContainerPort{HostPort: 8081}), ""},
		"another protocol": {"TCP and UDP do not meet", portPod("1", tcp),
			portPod("2", corev1.ContainerPort{HostPort: 8080, Protocol: corev1.ProtocolUDP}), ""},
		"no host port": {"ports of pods are their own", portPod("1", corev1.ContainerPort{ContainerPort: 8080}), portPod("2", tcp), ""},
		"all addresses": {"all of the node's addresses include each", portPod("1", corev1.ContainerPort{HostPort: 8080, HostIP: "0.0.0.0"}),
			portPod("2", corev1.ContainerPort{HostPort: 8080, HostIP: "192.0.2.1"}), ReasonNodePorts},
		"another address": {"two addresses do not meet", portPod("1", corev1.ContainerPort{HostPort: 8080, HostIP: "192.0.2.2"}),
			portPod("2", corev1.ContainerPort{HostPort: 8080, HostIP: "192.0.2.1"}), ""},
		"a native sidecar's": {"it runs as long as the pod", portPod("1", tcp), sidecar, ReasonNodePorts},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Admit(tc.pod, roomyNode(), nil, nil, func() []*corev1.Pod { return []*corev1.Pod{tc.other} }); got.Reason != tc.want {
				t.Errorf("%s: rejected with %q %q, want %q", tc.reason, got.Reason, got.Message, tc.want)
			}
		})
	}
}
