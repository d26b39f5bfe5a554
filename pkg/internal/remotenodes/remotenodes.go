package remotenodes

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-helpers/nodedeclaredfeatures/features/inplacepodresize"
	"k8s.io/component-helpers/nodedeclaredfeatures/features/restartallcontainers"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
)

// sharedLabels are the keys of labels that say what a node has, not which one it is: its
// operating system and architecture, where it stands, and its accelerators.
// https://kubernetes.io/docs/reference/labels-annotations-taints/
//
//nolint:gochecknoglobals // never written
var sharedLabels = []string{
	corev1.LabelOSStable, corev1.LabelArchStable,
	corev1.LabelTopologyRegion, corev1.LabelTopologyZone, corev1.LabelInstanceTypeStable,
	"nvidia.com/gpu.product", "nvidia.com/gpu.family", "nvidia.com/gpu.memory",
	"nvidia.com/gpu.compute.major", "nvidia.com/gpu.compute.minor",
	"amd.com/gpu.product-name", "amd.com/gpu.family", "amd.com/gpu.vram", "gpu.intel.com/product",
	"cloud.google.com/gke-accelerator", "cloud.google.com/gke-tpu-accelerator", "cloud.google.com/gke-tpu-topology",
	"karpenter.k8s.aws/instance-gpu-manufacturer", "karpenter.k8s.aws/instance-gpu-name",
}

// servedFeatures are the features that akd serves where the kubelets do: it copies what they
// are about, and the kubelets do the rest. What needs resource claims, or a server of
// streams that is a kubelet's, is none of them.
// https://github.com/kubernetes/kubernetes/tree/v1.37.1/staging/src/k8s.io/component-helpers/nodedeclaredfeatures/features
//
//nolint:gochecknoglobals // never written
var servedFeatures = []string{
	restartallcontainers.RestartAllContainersOnContainerExits,
	inplacepodresize.IPPRPodLevelResourcesFeatureGate,
	inplacepodresize.IPPRInitContainersFeatureGate,
}

// SharedLabels returns the keys of labels that say what a node has. A node that stands for
// several has those on which they agree.
func SharedLabels() []string { return slices.Clone(sharedLabels) }

// ServedFeatures returns the features of kubelets that akd serves.
func ServedFeatures() []string { return slices.Clone(servedFeatures) }

// Serves reports whether akd serves a feature of kubelets.
func Serves(feature string) bool { return slices.Contains(servedFeatures, feature) }

// Placement is where remote pods may run.
type Placement struct {
	NodeSelector map[string]string
	Tolerations  []corev1.Toleration
}

// Together is what the nodes that admit the pods are together.
type Together struct {
	// Capacity and Allocatable are the sums of what the nodes have that take pods now.
	Capacity    corev1.ResourceList
	Allocatable corev1.ResourceList
	// Info is that of the oldest of them.
	Info corev1.NodeSystemInfo
	// Labels are those on which they agree, of those that say what a node has: its operating
	// system and architecture, its place and its accelerators.
	Labels map[string]string
	// Features are those that all of them declare and that akd serves, sorted.
	Features []string
	// Sizes are what is allocatable on the largest nodes, also on those that take no pods
	// until they are well again: a pod that fits none of them never runs.
	Sizes []corev1.ResourceList
}

// Of returns what the nodes are together that admit the pods: those that match the selector
// and have no taint that the pods do not tolerate. Without any, all is empty.
func Of(nodes []corev1.Node, pods Placement) Together {
	together := Together{Capacity: corev1.ResourceList{}, Allocatable: corev1.ResourceList{}}
	nodes = slices.Clone(nodes)
	slices.SortStableFunc(nodes, func(a, b corev1.Node) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	for i := range nodes {
		node := &nodes[i]
		if !pods.admits(node, IsLasting) {
			continue
		}
		together.addSize(node.Status.Allocatable)
		if !isWell(node) || !pods.admits(node, isHard) {
			continue
		}
		if together.Labels == nil { // the first
			together.Info, together.Labels, together.Features = node.Status.NodeInfo, labelsOf(node), featuresOf(node)
		}
		together.agree(node)
		add(together.Capacity, node.Status.Capacity)
		add(together.Allocatable, node.Status.Allocatable)
	}
	return together
}

// admits reports whether the scheduler may put the pods on a node, as far as the taints
// matter.
// https://github.com/kubernetes/kubernetes/tree/v1.37.1/pkg/scheduler/framework/plugins/tainttoleration
func (p Placement) admits(node *corev1.Node, matters func(*corev1.Taint) bool) bool {
	if !labels.SelectorFromSet(p.NodeSelector).Matches(labels.Set(node.Labels)) {
		return false
	}
	_, untolerated := scheduling.FindMatchingUntoleratedTaint(logr.Discard(), node.Spec.Taints, p.Tolerations, matters, true)
	return !untolerated
}

func isHard(taint *corev1.Taint) bool { return taint.Effect != corev1.TaintEffectPreferNoSchedule }

// IsLasting reports whether a taint keeps pods away, and is not one of those that say how a
// node is just now.
// https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions
func IsLasting(taint *corev1.Taint) bool {
	domain, _, _ := strings.Cut(taint.Key, "/")
	return isHard(taint) && domain != "node.kubernetes.io" && domain != "node.cloudprovider.kubernetes.io"
}

// isWell reports whether a node takes pods now.
func isWell(node *corev1.Node) bool {
	return !node.Spec.Unschedulable && slices.ContainsFunc(node.Status.Conditions, func(condition corev1.NodeCondition) bool {
		return condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue
	})
}

// labelsOf returns the labels of a node that say what it has.
func labelsOf(node *corev1.Node) map[string]string {
	found := map[string]string{}
	for _, key := range sharedLabels {
		if value, ok := node.Labels[key]; ok {
			found[key] = value
		}
	}
	return found
}

func featuresOf(node *corev1.Node) []string {
	return slices.Sorted(slices.Values(slices.DeleteFunc(slices.Clone(node.Status.DeclaredFeatures),
		func(feature string) bool { return !Serves(feature) })))
}

// agree keeps what a node has, too.
func (t *Together) agree(node *corev1.Node) {
	have, declared := labelsOf(node), featuresOf(node)
	maps.DeleteFunc(t.Labels, func(key, value string) bool { other, ok := have[key]; return !ok || other != value })
	t.Features = slices.DeleteFunc(t.Features, func(feature string) bool { return !slices.Contains(declared, feature) })
}

// addSize keeps the sizes that no other one covers.
func (t *Together) addSize(size corev1.ResourceList) {
	if slices.ContainsFunc(t.Sizes, func(other corev1.ResourceList) bool { return covers(other, size) }) {
		return
	}
	t.Sizes = append(slices.DeleteFunc(t.Sizes, func(other corev1.ResourceList) bool { return covers(size, other) }), size)
}

func covers(large, small corev1.ResourceList) bool {
	for name, quantity := range small {
		if have, ok := large[name]; !ok || have.Cmp(quantity) < 0 {
			return false
		}
	}
	return true
}

func add(total, more corev1.ResourceList) {
	for name, quantity := range more {
		sum := total[name]
		sum.Add(quantity)
		total[name] = sum
	}
}
