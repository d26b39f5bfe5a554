//go:build e2e

package env

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
)

// Objects lists all objects of a cluster as "resource namespace/name", without
// those that come and go by themselves.
func (e *Env) Objects(t testing.TB, side string) map[string]bool {
	t.Helper()
	config, err := e.restConfig(side)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	found, err := discovery.NewDiscoveryClientForConfigOrDie(config).ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	client := dynamic.NewForConfigOrDie(config)
	objects := map[string]bool{}
	for _, group := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, found) {
		versions, err := discovery.GroupVersionResources([]*metav1.APIResourceList{group})
		if err != nil {
			t.Fatal(err)
		}
		for resource := range versions {
			if isTransient(resource.Resource) {
				continue
			}
			list, err := client.Resource(resource).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatalf("list %s %s: %v", side, resource.Resource, err)
			}
			for i := range list.Items {
				object := &list.Items[i]
				objects[resource.GroupResource().String()+" "+object.GetNamespace()+"/"+object.GetName()] = true
			}
		}
	}
	return objects
}

// isTransient reports whether objects of a resource come and go by themselves,
// whatever is installed.
func isTransient(resource string) bool {
	switch resource {
	case "events", // last for an hour
		"leases",                     // of components
		"certificatesigningrequests", // of kubelets and akd: the controller manager removes signed ones after an hour
		"podcertificaterequests":
		return true
	}
	return false
}
