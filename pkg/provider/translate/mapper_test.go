package translate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// The remote cluster's administrator lists what its policies demand of a namespace; none
// of that replaces what akd says.
func TestNamespaceAsInstalled(t *testing.T) {
	mapper := testMapper()
	mapper.PodSecurity = "baseline"
	mapper.InstalledLabels = map[string]string{"team": "payments", contract.LabelNodeName: "n2", contract.LabelPodSecurity: "privileged"}
	mapper.InstalledAnnotations = map[string]string{"example.com/contact": "payments@example.com"}
	got := siteOf(mapper, "shop").Namespace("shop")
	want := mapper.NamespaceLabels("shop")
	want["team"], want[contract.LabelPodSecurity] = "payments", "baseline"
	if diff := cmp.Diff(want, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(mapper.InstalledAnnotations, got.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	got.Annotations["other"] = "x"
	if len(mapper.InstalledAnnotations) != 1 {
		t.Error("a namespace shares its annotations with others")
	}
}

func TestOwnsNamespace(t *testing.T) {
	mapper := testMapper()
	with := func(change func(*corev1.Namespace)) *corev1.Namespace {
		namespace := siteOf(mapper, "shop").Namespace("shop")
		change(namespace)
		return namespace
	}
	cases := map[string]struct {
		reason string
		remote *corev1.Namespace
		wants  string
	}{
		"Ours": {reason: "What akd makes is its own.", remote: siteOf(mapper, "shop").Namespace("shop")},
		"Foreign": {
			reason: "A namespace that somebody made is not adopted.",
			remote: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: contract.RemoteNamespace("n1", "shop")}},
			wants:  "akd did not make it",
		},
		"OtherNode": {
			reason: "Another node's namespace is not ours.",
			remote: with(func(n *corev1.Namespace) { n.Labels[contract.LabelNodeName] = "n2" }),
			wants:  "belongs to node",
		},
		"Collision": {
			reason: "Two local names may have one hash.",
			remote: with(func(n *corev1.Namespace) { n.Labels[contract.LabelNamespace] = "other" }),
			wants:  "serves local namespace",
		},
		"OtherCluster": {
			reason: "Two clusters may each have a node of that name.",
			remote: with(func(n *corev1.Namespace) { n.Labels[contract.LabelClusterUID] = "x" }),
			wants:  "another local cluster",
		},
		"NoCluster": {
			reason: "A namespace that names no cluster proves nothing.",
			remote: with(func(n *corev1.Namespace) { delete(n.Labels, contract.LabelClusterUID) }),
			wants:  "another local cluster",
		},
		"OtherName": {
			reason: "Labels alone prove nothing either.",
			remote: with(func(n *corev1.Namespace) { n.Name = "kube-system" }),
			wants:  "is not the one",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := mapper.OwnsNamespace(tc.remote, "shop")
			if (err == nil) != (tc.wants == "") || err != nil && !strings.Contains(err.Error(), tc.wants) {
				t.Errorf("%s\nOwnsNamespace(…) = %v, want an error with %q", tc.reason, err, tc.wants)
			}
		})
	}
}

// testMapper is the mapper of the goldens, too.
func testMapper() *Mapper {
	return &Mapper{Owner: contract.Owner{Node: "n1", ClusterUID: "c1"},
		APIServer:     APIServer{Host: "203.0.113.7", Port: 6443},
		ClusterDomain: "cluster.local",
		PodSecurity:   "baseline",
	}
}

// siteOf is the remote namespace of a local one whose name does not collide.
func siteOf(mapper *Mapper, namespace string) Site {
	return mapper.In(contract.RemoteNamespace(mapper.Node, namespace))
}
