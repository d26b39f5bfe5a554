package kubeclient

import (
	"maps"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A rerun within one second of the first run once counted a changed image as
// unchanged: managedFields tell the second, and not what a field said.
func TestUnchanged(t *testing.T) {
	object := func(owned, image string, more map[string]any) *unstructured.Unstructured {
		container := map[string]any{"name": "akd", "image": image}
		maps.Copy(container, more)
		o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"containers": []any{container}}}}
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{
			Manager: FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsV1: metav1.NewFieldsV1(owned),
		}})
		return o
	}
	containers := []any{map[string]any{"name": "akd", "image": "new"}}
	applied := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"containers": containers}}}
	cases := map[string]struct {
		reason        string
		before, after *unstructured.Unstructured
		want          bool
	}{
		"Same":  {reason: "nothing has changed", before: object("{}", "new", nil), after: object("{}", "new", nil), want: true},
		"Value": {reason: "a value has", before: object("{}", "old", nil), after: object("{}", "new", nil)},
		"Field": {reason: "a field is ours now, or no longer", before: object("{}", "new", nil), after: object(`{"f:spec":{}}`, "new", nil)},
		"Another": {
			reason: "somebody else's field has",
			before: object("{}", "new", map[string]any{"tty": true}),
			after:  object("{}", "new", nil),
			want:   true,
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			if got := unchanged(applied, tc.before, tc.after); got != tc.want {
				t.Errorf("%s: got %t", tc.reason, got)
			}
		})
	}
}
