package translate

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// ReasonNodePorts ends a pod whose host ports another pod on the node has.
const ReasonNodePorts = "NodePorts"

// Admit returns why the node rejects a pod for good, as a kubelet does with one
// that was bound to it past the scheduler, or a zero Refusal. The others are
// the node's pods that have started and may still run.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/lifecycle/predicate.go
func Admit(local *corev1.Pod, others func() []*corev1.Pod) Refusal {
	wanted := hostPorts(local)
	if len(wanted) == 0 {
		return Refusal{}
	}
	for _, other := range others() {
		if other.UID == local.UID || finished(other) || other.Status.StartTime == nil {
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
	ip       string // "" for all of the node's
	port     int32
	protocol corev1.Protocol
}

// excludes reports whether two pods of one node cannot have both ports.
func (h hostPort) excludes(other hostPort) bool {
	return h.port == other.port && h.protocol == other.protocol && (h.ip == other.ip || h.ip == "" || other.ip == "")
}

// hostPorts are those of all containers that run at the same time: the pod's
// containers and its native sidecars.
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
