package policies_test

import (
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// The policy of pods names every field and every kind of volume that package
// translate lets pass, so that a field that is added there is added here. An ephemeral
// volume becomes a claim: the remote cluster would make one of any class for it.
func TestLedgerIsAdmitted(t *testing.T) {
	rendered, err := manifests.Remote(manifests.Values{Node: node, ClusterUID: cluster})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, object := range rendered {
		policy, ok := typed(t, object).(*admissionregistrationv1.ValidatingAdmissionPolicy)
		if !ok || policy.Name != contract.PolicyPods {
			continue
		}
		for _, variable := range policy.Spec.Variables {
			text.WriteString(variable.Expression)
		}
		for _, validation := range policy.Spec.Validations {
			text.WriteString(validation.Expression)
		}
	}
	for _, field := range translate.Ledger() {
		root, rest, _ := strings.Cut(field.Path, ".")
		name, _, _ := strings.Cut(rest, ".")
		passes := field.Decision == translate.Kept || field.Decision == translate.Translated
		if root != "spec" && root != "volume" || !passes || name == "ephemeralContainers" || root == "volume" && name == "ephemeral" {
			continue
		}
		installable := root == "volume" && slices.Contains(manifests.VolumeKinds(), name)
		if !installable && !strings.Contains(text.String(), "'"+name+"'") {
			t.Errorf("the policy %s does not admit %s", contract.PolicyPods, field.Path)
		}
	}
}
