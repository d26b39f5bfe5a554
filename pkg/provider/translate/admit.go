package translate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// Reasons for which a kubelet rejects a pod that was bound to its node without the
// scheduler. OutOf is a prefix of the resource that is insufficient.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/lifecycle/predicate.go
const (
	ReasonNodePorts       = "NodePorts"
	ReasonNodeAffinity    = "NodeAffinity"
	ReasonTaintToleration = "TaintToleration"
	ReasonOutOf           = "OutOf"
)

// Amounts are amounts of resources of a node, including pods: cpu in thousandths,
// everything else in whole units.
type Amounts map[corev1.ResourceName]int64

// Requests returns what a pod uses of its node, as the scheduler counts: the larger
// of what a resize requests and what is still allocated.
func Requests(pod *corev1.Pod) Amounts {
	requests := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{UseStatusResources: true})
	amounts := make(Amounts, len(requests)+1)
	for name, quantity := range requests {
		amounts[name] = amount(name, quantity)
	}
	amounts[corev1.ResourcePods] = 1
	return amounts
}

func amount(name corev1.ResourceName, quantity resource.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return quantity.MilliValue()
	}
	return quantity.Value()
}

// Add adds the amounts of another pod.
func (a Amounts) Add(more Amounts) {
	for name, n := range more {
		a[name] += n
	}
}

// Sub subtracts the amounts of a pod, and forgets what nobody uses any more.
func (a Amounts) Sub(less Amounts) {
	for name, n := range less {
		if a[name] -= n; a[name] == 0 {
			delete(a, name)
		}
	}
}

// Admit returns why the node rejects a pod permanently, or a zero Refusal, as a
// kubelet does with a pod that was bound to it without the scheduler. used is what
// the admitted pods use that may still run; others returns them, and is called for
// pods with host ports only. sizes are what the largest nodes of the remote cluster can
// give to pods, and empty if that is not known. If node is nil, Admit checks host ports
// only.
func Admit(local *corev1.Pod, node *corev1.Node, used Amounts, sizes []corev1.ResourceList, others func() []*corev1.Pod) Refusal {
	if refusal := debugsNode(local); refusal.Reason != "" {
		return refusal
	}
	if node == nil {
		return portTaken(local, others)
	}
	for _, check := range []func() Refusal{
		func() Refusal { return lacks(local, node, used) },
		func() Refusal { return tooLarge(local, sizes) },
		func() Refusal { return mismatched(local, node) },
		func() Refusal { return portTaken(local, others) },
		func() Refusal { return untolerated(local, node) },
	} {
		if refusal := check(); refusal.Reason != "" {
			return refusal
		}
	}
	return Refusal{}
}

// ReasonNoHost is for pods that shall look into their node.
const ReasonNoHost = "NoHost"

// debugsNode refuses the pod of kubectl debug node/NODE: akd has no host that it
// could show, and that of some remote node is not what was asked for. kubectl
// recognizes the pod by its name, and so does akd.
// https://github.com/kubernetes/kubectl/blob/v0.37.1/pkg/cmd/debug/debug.go
func debugsNode(local *corev1.Pod) Refusal {
	mountsHost := slices.ContainsFunc(local.Spec.Volumes, func(v corev1.Volume) bool { return v.HostPath != nil && v.HostPath.Path == "/" })
	if !mountsHost || !strings.HasPrefix(local.Name, "node-debugger-"+local.Spec.NodeName+"-") {
		return Refusal{}
	}
	return Refusal{ReasonNoHost, fmt.Sprintf("Pod was rejected: node %s has no host of its own. Its pods run on nodes of the remote cluster: "+
		"kubectl actual where -A shows on which, and kubectl debug works there", local.Spec.NodeName)}
}

// lacks returns which resource of the node is insufficient. The node does not
// manage resources that it does not list. A kubelet evicts other pods for a
// critical pod; akd cannot, and leaves the decision to the remote cluster.
func lacks(local *corev1.Pod, node *corev1.Node, used Amounts) Refusal {
	if local.Spec.Priority != nil && *local.Spec.Priority >= systemCritical {
		return Refusal{}
	}
	requests := Requests(local)
	for _, name := range requests.names() {
		quantity, listed := node.Status.Allocatable[name]
		capacity := amount(name, quantity)
		if listed && requests[name] > 0 && requests[name] > capacity-used[name] {
			return Refusal{ReasonOutOf + string(name),
				fmt.Sprintf("Pod was rejected: Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d",
					name, requests[name], used[name], capacity)}
		}
	}
	return Refusal{}
}

// names returns the resources in the order in which a kubelet looks at them.
func (a Amounts) names() []corev1.ResourceName {
	first := []corev1.ResourceName{corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}
	rest := slices.DeleteFunc(slices.Sorted(maps.Keys(a)), func(name corev1.ResourceName) bool { return slices.Contains(first, name) })
	return append(first, rest...)
}

// tooLarge refuses a pod that no node of the remote cluster can take, not even an empty
// one: it would stay Pending there for ever, and hold what others could use. A critical
// pod is left to the remote cluster, as in lacks.
func tooLarge(local *corev1.Pod, sizes []corev1.ResourceList) Refusal {
	if len(sizes) == 0 || local.Spec.Priority != nil && *local.Spec.Priority >= systemCritical {
		return Refusal{}
	}
	requests := Requests(local)
	var refusal Refusal
	fewest := len(requests) + 1
	for _, size := range sizes {
		lacking := slices.DeleteFunc(requests.names(), func(name corev1.ResourceName) bool {
			return requests[name] == 0 || requests[name] <= amount(name, size[name]) || !listed(name, sizes)
		})
		if len(lacking) == 0 {
			return Refusal{}
		}
		if name := lacking[0]; len(lacking) < fewest {
			fewest = len(lacking)
			refusal = Refusal{ReasonOutOf + string(name),
				fmt.Sprintf("Pod was rejected: No node of the remote cluster is large enough: %s, requested: %d, on the one that fits best: %d",
					name, requests[name], amount(name, size[name]))}
		}
	}
	return refusal
}

// listed reports whether any node lists a resource. The others have none of it then.
func listed(name corev1.ResourceName, sizes []corev1.ResourceList) bool {
	return slices.ContainsFunc(sizes, func(size corev1.ResourceList) bool { _, ok := size[name]; return ok })
}

// systemCritical is the lowest priority of a critical pod.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/apis/scheduling/types.go
const systemCritical = 2_000_000_000

func mismatched(local *corev1.Pod, node *corev1.Node) Refusal {
	if match, err := nodeaffinity.GetRequiredNodeAffinity(local).Match(node); err == nil && match {
		return Refusal{}
	}
	return Refusal{ReasonNodeAffinity, "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"}
}

func untolerated(local *corev1.Pod, node *corev1.Node) Refusal {
	evicts := func(taint *corev1.Taint) bool { return taint.Effect == corev1.TaintEffectNoExecute }
	if _, found := scheduling.FindMatchingUntoleratedTaint(logr.Discard(), node.Spec.Taints, local.Spec.Tolerations, evicts, true); found {
		return Refusal{ReasonTaintToleration,
			"Pod was rejected: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"}
	}
	return Refusal{}
}

func portTaken(local *corev1.Pod, others func() []*corev1.Pod) Refusal {
	wanted := hostPorts(local)
	if len(wanted) == 0 {
		return Refusal{}
	}
	for _, other := range others() {
		if other.UID == local.UID {
			continue
		}
		for _, taken := range hostPorts(other) {
			if slices.ContainsFunc(wanted, taken.excludes) {
				return Refusal{ReasonNodePorts, fmt.Sprintf("Pod was rejected: Predicate NodePorts failed: pod %s/%s has host port %d/%s.",
					other.Namespace, other.Name, taken.port, taken.protocol)}
			}
		}
	}
	return Refusal{}
}

// hostPort is a port of the node.
type hostPort struct {
	ip       string // "" means all addresses of the node
	port     int32
	protocol corev1.Protocol
}

// excludes reports whether two pods of a node cannot both have these ports.
func (h hostPort) excludes(other hostPort) bool {
	return h.port == other.port && h.protocol == other.protocol && (h.ip == other.ip || h.ip == "" || other.ip == "")
}

// hostPorts returns those of all containers that run at the same time: the
// containers of the pod and its native sidecars.
func hostPorts(pod *corev1.Pod) []hostPort {
	var ports []hostPort
	add := func(container *corev1.Container) {
		for _, port := range container.Ports {
			if port.HostPort == 0 {
				continue
			}
			ip := port.HostIP
			if ip == "0.0.0.0" || ip == "::" {
				ip = ""
			}
			ports = append(ports, hostPort{ip, port.HostPort, cmp.Or(port.Protocol, corev1.ProtocolTCP)})
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		if policy := pod.Spec.InitContainers[i].RestartPolicy; policy != nil && *policy == corev1.ContainerRestartPolicyAlways {
			add(&pod.Spec.InitContainers[i])
		}
	}
	return ports
}
