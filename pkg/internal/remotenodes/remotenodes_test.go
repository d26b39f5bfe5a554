package remotenodes

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/nodedeclaredfeatures/features"
)

// restarts and resizes are features that akd serves; DRA is none.
const (
	restarts = "RestartAllContainersOnContainerExits"
	resizes  = "InPlacePodLevelResourcesVerticalScaling"
	dra      = "DRANodeAllocatableResources"
)

// nodeOf returns a Ready node of a zone with CPUs, changed.
func nodeOf(zone, cpu string, change ...func(*corev1.Node)) corev1.Node {
	list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
	node := corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{
			corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64", corev1.LabelTopologyZone: zone,
			corev1.LabelHostname: zone + cpu,
		}},
		Status: corev1.NodeStatus{
			Capacity: list, Allocatable: list,
			Conditions:       []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			NodeInfo:         corev1.NodeSystemInfo{KubeletVersion: "v1.37.1"},
			DeclaredFeatures: []string{dra, resizes, restarts},
		},
	}
	for _, change := range change {
		change(&node)
	}
	return node
}

func tainted(key string, effect corev1.TaintEffect) func(*corev1.Node) {
	return func(node *corev1.Node) {
		node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: key, Effect: effect})
	}
}

func labelled(key, value string) func(*corev1.Node) {
	return func(node *corev1.Node) { node.Labels[key] = value }
}

func notReady(node *corev1.Node) { node.Status.Conditions[0].Status = corev1.ConditionUnknown }

func TestOf(t *testing.T) {
	t.Parallel()
	type want struct {
		CPU      string
		Labels   map[string]string
		Features []string
		Sizes    []string // CPUs
	}
	linux := func(more map[string]string) map[string]string {
		labels := map[string]string{corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64"}
		maps.Copy(labels, more)
		return labels
	}
	zone := func(name string) map[string]string { return linux(map[string]string{corev1.LabelTopologyZone: name}) }
	both := []string{resizes, restarts}
	tests := map[string]struct {
		reason string
		nodes  []corev1.Node
		pods   Placement
		want   want
	}{
		"none": {reason: "nothing is known", want: want{CPU: "0"}},
		"alike": {
			reason: "two nodes' resources are one node's, which is where they are, and neither of them",
			nodes:  []corev1.Node{nodeOf("a", "2"), nodeOf("a", "3")},
			want:   want{"5", zone("a"), both, []string{"3"}},
		},
		"different": {
			reason: "what differs is not said",
			nodes: []corev1.Node{
				nodeOf("a", "2", labelled("nvidia.com/gpu.product", "A100")),
				nodeOf("b", "2", labelled(corev1.LabelArchStable, "arm64"), func(node *corev1.Node) {
					node.Status.DeclaredFeatures = []string{restarts, "Another"}
				}),
			},
			want: want{"4", map[string]string{corev1.LabelOSStable: "linux"}, []string{restarts}, []string{"2"}},
		},
		"accelerators": {
			reason: "a user selects by what all nodes have",
			nodes: []corev1.Node{
				nodeOf("a", "2", labelled("nvidia.com/gpu.product", "A100")), nodeOf("b", "2", labelled("nvidia.com/gpu.product", "A100")),
			},
			want: want{"4", linux(map[string]string{"nvidia.com/gpu.product": "A100"}), both, []string{"2"}},
		},
		"unwell": {
			reason: "nodes that take no pods just now add nothing, and a pod that fits them can wait for them",
			nodes: []corev1.Node{
				nodeOf("a", "2"), nodeOf("b", "8", notReady),
				nodeOf("c", "4", func(node *corev1.Node) { node.Spec.Unschedulable = true }),
				nodeOf("d", "1", tainted("node.kubernetes.io/disk-pressure", corev1.TaintEffectNoSchedule)),
				nodeOf("e", "1", tainted("node.cloudprovider.kubernetes.io/uninitialized", corev1.TaintEffectNoSchedule)),
			},
			want: want{"2", zone("a"), both, []string{"8"}},
		},
		"tainted": {
			reason: "nodes for others are not this node's",
			nodes: []corev1.Node{
				nodeOf("a", "2"), nodeOf("b", "8", tainted("dedicated", corev1.TaintEffectNoSchedule)),
				nodeOf("b", "8", tainted("dedicated", corev1.TaintEffectNoExecute)),
				nodeOf("a", "3", tainted("rather-not", corev1.TaintEffectPreferNoSchedule)),
			},
			want: want{"5", zone("a"), both, []string{"3"}},
		},
		"tolerated": {
			reason: "what the pods tolerate keeps them from nothing",
			nodes:  []corev1.Node{nodeOf("a", "8", tainted("dedicated", corev1.TaintEffectNoSchedule)), nodeOf("b", "2")},
			pods:   Placement{Tolerations: []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}}},
			want:   want{"10", linux(nil), both, []string{"8"}},
		},
		"selected": {
			reason: "pods run on the selected nodes only",
			nodes:  []corev1.Node{nodeOf("a", "8"), nodeOf("b", "2")},
			pods:   Placement{NodeSelector: map[string]string{corev1.LabelTopologyZone: "b"}},
			want:   want{"2", zone("b"), both, []string{"2"}},
		},
		"sizes": {
			reason: "a node with another resource is not covered by a larger one",
			nodes: []corev1.Node{nodeOf("a", "8"), nodeOf("a", "2", func(node *corev1.Node) {
				node.Status.Allocatable = corev1.ResourceList{
					corev1.ResourceCPU: resource.MustParse("2"), "example.com/gpu": resource.MustParse("1"),
				}
			}), nodeOf("a", "4")},
			want: want{"14", zone("a"), both, []string{"8", "2"}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			together := Of(tc.nodes, tc.pods)
			got := want{CPU: together.Allocatable.Cpu().String(), Labels: together.Labels, Features: together.Features}
			for _, size := range together.Sizes {
				got.Sizes = append(got.Sizes, size.Cpu().String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// The version and the system that a node shows are those of the oldest remote node, so
// that they do not change with the order of a list.
func TestOldest(t *testing.T) {
	t.Parallel()
	version := func(version string, age time.Duration) corev1.Node {
		return nodeOf("a", "1", func(node *corev1.Node) {
			node.CreationTimestamp = metav1.NewTime(time.Unix(0, 0).Add(-age))
			node.Status.NodeInfo.KubeletVersion = version
		})
	}
	nodes := []corev1.Node{version("v1.37.1", time.Hour), version("v1.36.0", 2*time.Hour)}
	if got := Of(nodes, Placement{}).Info.KubeletVersion; got != "v1.36.0" || nodes[0].Status.NodeInfo.KubeletVersion != "v1.37.1" {
		t.Errorf("the version is %s, want that of the oldest node, and the list as it was", got)
	}
}

// A new feature of kubelets needs a decision: whether akd serves it.
func TestFeaturesAreDecided(t *testing.T) {
	t.Parallel()
	notServed := []string{
		dra, "DRAOptionalNodeOperations", // no resource claims
		"ExtendWebSocketsToKubelet",                    // akd's server is not a kubelet's
		"InPlacePodVerticalScalingMemoryBackedVolumes", // akd does not update volumes
		"UserNamespacesHostNetworkSupport",             // no test shows it
		"VolumeBindMountOptions",                       // no test shows it
	}
	var undecided []string
	for _, feature := range features.AllFeatures {
		if served := Serves(feature.Name()); served == slices.Contains(notServed, feature.Name()) {
			undecided = append(undecided, feature.Name())
		}
	}
	if len(undecided) > 0 {
		t.Errorf("say of %q whether akd serves them", undecided)
	}
}
