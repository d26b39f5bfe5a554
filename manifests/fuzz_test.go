package manifests_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Whatever nodes and local namespaces are called, the policy of a node lets it
// make its own remote namespaces and volumes, and none of another node's.
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
		own, others := ownNamespaces(t, node), ownNamespaces(t, other)
		ownVolume, othersVolume := ownVolumes(t, node), ownVolumes(t, other)
		for _, name := range contract.RemoteNamespaces(node, local) {
			if !own(name) {
				t.Errorf("node %s may not make %s, which is its own", node, name)
			}
			if other != node && others(name) {
				t.Errorf("node %s may make %s, which is node %s's", other, name, node)
			}
			handle := contract.VolumeHandle(name, contract.VolumeName("uid"))
			if !ownVolume(handle) || other != node && othersVolume(handle) {
				t.Errorf("the volume %s is node %s's, and node %s may make it, or its own may not", handle, node, other)
			}
		}
	})
}

// ownNamespaces is what the policies ask of the name of a node's namespace; all
// must ask the same.
func ownNamespaces(t *testing.T, node string) func(name string) bool {
	t.Helper()
	objects, err := manifests.Remote(manifests.Values{Node: node, ClusterUID: cluster})
	if err != nil {
		t.Fatal(err)
	}
	return ownNames(t, node, objects)
}

// ownVolumes is what the policies ask of the handle of a node's volume.
func ownVolumes(t *testing.T, node string) func(handle string) bool {
	t.Helper()
	objects, err := manifests.Local(manifests.Values{Node: node, Storage: manifests.Storage{Enabled: true, Classes: []string{"any"}}})
	if err != nil {
		t.Fatal(err)
	}
	return ownNames(t, node, objects)
}

func ownNames(t *testing.T, node string, objects []*unstructured.Unstructured) func(name string) bool {
	t.Helper()
	asked := regexp.MustCompile(
		`([a-z.]+)\.startsWith\(variables\.node \+ '-'\) && ([a-z.]+)\.substring\(size\(variables\.node\) \+ 1\)\.matches\('([^']*)'\)`)
	patterns := map[string]bool{}
	for _, object := range objects {
		for _, part := range []string{"validations", "variables"} {
			expressions, _, err := unstructured.NestedSlice(object.Object, "spec", part)
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range expressions {
				expression, _, _ := unstructured.NestedString(one.(map[string]any), "expression")
				for _, found := range asked.FindAllStringSubmatch(expression, -1) {
					if found[1] != found[2] {
						t.Fatalf("%s has the prefix, %s the hash", found[1], found[2])
					}
					patterns[found[3]] = true
				}
			}
		}
	}
	if len(patterns) != 1 {
		t.Fatalf("patterns %v, want one", patterns)
	}
	hash := regexp.MustCompile(slices.Collect(maps.Keys(patterns))[0])
	return func(name string) bool {
		rest, has := strings.CutPrefix(name, node+"-")
		return has && hash.MatchString(rest)
	}
}
