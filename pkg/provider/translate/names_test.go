package translate

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRemoteNamespace(t *testing.T) {
	cases := map[string]struct {
		reason          string
		node, namespace string
		want            string
	}{
		"Contract": {
			reason: "The name of a remote namespace is a contract: other programs compute it too.",
			node:   "vk-ak-example", namespace: "crossplane-system",
			want: "vk-ak-example-d05fe343c4951ecb",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := RemoteNamespace(tc.node, tc.namespace); got != tc.want {
				t.Errorf("%s\nRemoteNamespace(%q, %q) = %q, want %q", tc.reason, tc.node, tc.namespace, got, tc.want)
			}
		})
	}
}

func TestCheckNodeName(t *testing.T) {
	cases := map[string]struct {
		reason string
		node   string
		wants  string // a part of the error's text; "" is no error
	}{
		"Longest":  {reason: "With 46 characters a namespace has 63.", node: strings.Repeat("n", 46)},
		"TooLong":  {reason: "With 47 a namespace would have 64.", node: strings.Repeat("n", 47), wants: "at most 46"},
		"Dots":     {reason: "A namespace is one DNS label.", node: "a.b", wants: "DNS label"},
		"Empty":    {reason: "A node has a name.", node: "", wants: "DNS label"},
		"Capitals": {reason: "DNS labels are in lower case.", node: "Node", wants: "DNS label"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := CheckNodeName(tc.node)
			if (err == nil) != (tc.wants == "") || err != nil && !strings.Contains(err.Error(), tc.wants) {
				t.Errorf("%s\nCheckNodeName(%q) = %v, want an error with %q", tc.reason, tc.node, err, tc.wants)
			}
		})
	}
}

func TestOwnsNamespace(t *testing.T) {
	site := testSite()
	with := func(change func(*corev1.Namespace)) *corev1.Namespace {
		namespace := site.Namespace("shop")
		change(namespace)
		return namespace
	}
	cases := map[string]struct {
		reason string
		remote *corev1.Namespace
		wants  string
	}{
		"Ours":         {reason: "What akd makes is its own.", remote: site.Namespace("shop")},
		"Foreign":      {reason: "A namespace that somebody made is not adopted.", remote: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: RemoteNamespace("n1", "shop")}}, wants: "akd did not make it"},
		"OtherNode":    {reason: "Another node's namespace is not ours.", remote: with(func(n *corev1.Namespace) { n.Labels[LabelNodeName] = "n2" }), wants: "belongs to node"},
		"Collision":    {reason: "Two local names may have one hash.", remote: with(func(n *corev1.Namespace) { n.Labels[LabelNamespace] = "other" }), wants: "same hash"},
		"OtherCluster": {reason: "Two clusters may each have a node of that name.", remote: with(func(n *corev1.Namespace) { n.Annotations[AnnotationClusterUID] = "x" }), wants: "another local cluster"},
		"NoCluster":    {reason: "A namespace that names no cluster proves nothing.", remote: with(func(n *corev1.Namespace) { n.Annotations = nil }), wants: "another local cluster"},
		"OtherName":    {reason: "Labels alone prove nothing either.", remote: with(func(n *corev1.Namespace) { n.Name = "kube-system" }), wants: "is not the one"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := site.OwnsNamespace(tc.remote, "shop")
			if (err == nil) != (tc.wants == "") || err != nil && !strings.Contains(err.Error(), tc.wants) {
				t.Errorf("%s\nOwnsNamespace(…) = %v, want an error with %q", tc.reason, err, tc.wants)
			}
		})
	}
}

// testSite is the site of the goldens, too.
func testSite() *Site {
	return &Site{
		Node:          "n1",
		ClusterUID:    "c1",
		APIServer:     APIServer{Host: "203.0.113.7", Port: 6443},
		ClusterDomain: "cluster.local",
		PodSecurity:   "baseline",
	}
}
