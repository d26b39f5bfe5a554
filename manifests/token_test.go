package manifests_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// install let people choose a lifetime that the policy then denied akd at each renewal.
func TestTokenPolicyAdmitsEveryLifetime(t *testing.T) {
	objects, err := manifests.Remote(manifests.Values{Node: "vk-ak-example", ClusterUID: cluster})
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("<= %d", int64(contract.MaxTokenLifetime.Seconds()))
	for _, object := range objects {
		if object.GetKind() != "ValidatingAdmissionPolicy" || object.GetName() != contract.PolicyTokens {
			continue
		}
		validations, _, err := unstructured.NestedSlice(object.Object, "spec", "validations")
		if err != nil || len(validations) != 1 {
			t.Fatalf("%d validations, error %v", len(validations), err)
		}
		if expression := fmt.Sprint(validations[0]); !strings.Contains(expression, want) {
			t.Errorf("%s: want %q", expression, want)
		}
		return
	}
	t.Error("there is no such policy")
}
