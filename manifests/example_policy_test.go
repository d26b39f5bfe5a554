package manifests_test

import (
	"os"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/manifests"
)

// The example of a NetworkPolicy is for the pod that is installed: its labels
// and its ports.
func TestExampleNetworkPolicy(t *testing.T) {
	content, err := os.ReadFile("../docs/examples/akd-network-policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var policy networkingv1.NetworkPolicy
	if err := yaml.UnmarshalStrict(content, &policy); err != nil {
		t.Fatal(err)
	}
	objects, err := manifests.Local(manifests.Values{Node: "vk-ak-example", Image: "example.com/akd:v1"})
	if err != nil {
		t.Fatal(err)
	}
	akd := deployment(t, objects)
	template := akd.Spec.Template
	if !labels.SelectorFromSet(policy.Spec.PodSelector.MatchLabels).Matches(labels.Set(template.Labels)) || policy.Namespace != akd.Namespace {
		t.Errorf("the example selects %v in %s, akd's pods are %v in %s",
			policy.Spec.PodSelector.MatchLabels, policy.Namespace, template.Labels, akd.Namespace)
	}
	allowed := map[int32]bool{}
	for _, rule := range policy.Spec.Ingress {
		for _, port := range rule.Ports {
			allowed[port.Port.IntVal] = true
		}
	}
	for _, port := range template.Spec.Containers[0].Ports {
		if !allowed[port.ContainerPort] {
			t.Errorf("the example lets nobody reach akd's port %s, %d", port.Name, port.ContainerPort)
		}
		delete(allowed, port.ContainerPort)
	}
	if len(allowed) > 0 {
		t.Errorf("the example opens ports that akd does not have: %v", allowed)
	}
}

func deployment(t *testing.T, objects []*unstructured.Unstructured) *appsv1.Deployment {
	t.Helper()
	for _, object := range objects {
		if object.GetKind() == "Deployment" {
			found := &appsv1.Deployment{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, found); err != nil {
				t.Fatal(err)
			}
			return found
		}
	}
	t.Fatal("there is no Deployment")
	return nil
}
