package manifests_test

import (
	"regexp"
	"strconv"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Whatever nodes and local namespaces are called, the policy of a node lets it
// make its own remote namespaces and none of another node's.
func FuzzNamespaceNames(f *testing.F) {
	f.Add("a", "a-b", "default")
	f.Add("a-b", "a", "default")
	f.Add("a-deadbeef", "a", "kube-system")
	f.Add("0123456789abcdef", "0", "x")
	f.Add("vk-ak-example", "vk-ak-example-d05fe343c4951ecb", "crossplane-system")
	f.Fuzz(func(t *testing.T, node, other, local string) {
		if contract.CheckNodeName(node) != nil || contract.CheckNodeName(other) != nil || len(validation.IsDNS1123Label(local)) > 0 {
			t.Skip("no such names")
		}
		own := ownNamespaces(t, node)
		for _, name := range contract.RemoteNamespaces(node, local) {
			if !own.MatchString(name) {
				t.Errorf("node %s may not make %s, which is its own: %s", node, name, own)
			}
		}
		for _, name := range contract.RemoteNamespaces(other, local) {
			if other != node && own.MatchString(name) {
				t.Errorf("node %s may make %s, which is node %s's: %s", node, name, other, own)
			}
		}
	})
}

// ownNamespaces is the pattern in the policies of a node; all must have the same.
func ownNamespaces(t *testing.T, node string) *regexp.Regexp {
	t.Helper()
	objects, err := manifests.Remote(manifests.Values{Node: node, ClusterUID: cluster})
	if err != nil {
		t.Fatal(err)
	}
	matches := regexp.MustCompile(`matches\(("[^"]*")\)`)
	pattern := ""
	for _, object := range objects {
		validations, _, err := unstructured.NestedSlice(object.Object, "spec", "validations")
		if err != nil {
			t.Fatal(err)
		}
		for _, validation := range validations {
			expression, _, _ := unstructured.NestedString(validation.(map[string]any), "expression")
			for _, found := range matches.FindAllStringSubmatch(expression, -1) {
				literal, err := strconv.Unquote(found[1])
				if err != nil || pattern != "" && pattern != literal {
					t.Fatalf("patterns %q and %s: %v", pattern, found[1], err)
				}
				pattern = literal
			}
		}
	}
	own, err := regexp.Compile(pattern)
	if err != nil || pattern == "" {
		t.Fatalf("pattern %q: %v", pattern, err)
	}
	return own
}
