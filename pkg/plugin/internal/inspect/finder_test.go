package inspect

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestSelectorOf(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason   string
		kind     string
		selector map[string]any
		want     string
		fails    bool
	}{
		"Deployment": {
			reason:   "labels",
			kind:     "Deployment",
			selector: map[string]any{"matchLabels": map[string]any{"app": "web"}},
			want:     "app=web",
		},
		"Expressions": {
			reason: "and more", kind: "StatefulSet",
			selector: map[string]any{"matchExpressions": []any{map[string]any{"key": "app", "operator": "In", "values": []any{"a", "b"}}}},
			want:     "app in (a,b)",
		},
		"Old": {
			reason:   "labels without a word around them",
			kind:     "ReplicationController",
			selector: map[string]any{"app": "web"},
			want:     "app=web",
		},
		"Unknown": {
			reason:   "no such operator",
			kind:     "Job",
			selector: map[string]any{"matchExpressions": []any{map[string]any{"key": "a", "operator": "Like"}}},
			fails:    true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := selectorOf(&unstructured.Unstructured{Object: map[string]any{
				"kind": tc.kind,
				"spec": map[string]any{"selector": tc.selector},
			}})
			if got != tc.want || (err != nil) != tc.fails {
				t.Errorf("%s: got %q, %v", tc.reason, got, err)
			}
		})
	}
}
