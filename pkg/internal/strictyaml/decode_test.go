package strictyaml_test

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/strictyaml"
)

type color string

func (color) Values() []string { return []string{"red", "green"} }

type shape struct {
	Name   string            `json:"name"`
	Color  color             `json:"color"`
	Sides  int32             `json:"sides"`
	Labels map[string]string `json:"labels"`
	Parts  []shape           `json:"parts"`
	Old    bool              `json:"old"`
}

func TestDecode(t *testing.T) {
	decoder := strictyaml.Decoder{
		Header: "want a shape",
		Unusable: func(_ reflect.Type, name string) (string, bool) {
			return "want sides instead", name == "old"
		},
		Secret: func(path string) bool { return path == "name" },
	}
	cases := map[string]struct {
		reason string
		data   string
		want   shape
		found  []strictyaml.Problem
	}{
		"Values": {
			reason: "what is not set keeps its value",
			data:   "color: green\nlabels: {a: b}\nparts: [{sides: 3}]\n",
			want:   shape{Name: "default", Color: "green", Labels: map[string]string{"a": "b"}, Parts: []shape{{Sides: 3}}},
		},
		"Empty": {
			reason: "an empty document is a mistake",
			want:   shape{Name: "default"},
			found:  []strictyaml.Problem{{Found: "the file is empty", Want: "want a shape"}},
		},
		"List": {
			reason: "so is one that is no mapping",
			data:   "- a\n",
			want:   shape{Name: "default"},
			found:  []strictyaml.Problem{{Line: 1, Found: "found a list", Want: "want a shape"}},
		},
		"All": {
			reason: "all problems at once, with their lines",
			data:   "nam: a\nold: true\ncolor: blue\nsides: three\nsides: 3\nlabels:\n  a: 1\n",
			want:   shape{Name: "default", Labels: map[string]string{}},
			found: []strictyaml.Problem{
				{Line: 1, Field: "nam", Found: "unknown field", Want: "did you mean name?"},
				{Line: 2, Field: "old", Found: "cannot be used here", Want: "want sides instead"},
				{Line: 3, Field: "color", Found: `found "blue"`, Want: "want red or green"},
				{Line: 4, Field: "sides", Found: `found the text "three"`, Want: "want a whole number"},
				{Line: 5, Field: "sides", Found: "found twice", Want: "want it once: it is also on line 4"},
				{Line: 7, Field: "labels[a]", Found: `found the number "1"`, Want: "want text, in quotes"},
			},
		},
		"Secret": {
			reason: "a secret value is not quoted",
			data:   "name: 5\n",
			want:   shape{Name: "default"},
			found:  []strictyaml.Problem{{Line: 1, Field: "name", Found: "found a number", Want: "want text, in quotes"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := shape{Name: "default"}
			result := decoder.Decode([]byte(tc.data), &got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: value (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.found, result.Problems); diff != "" {
				t.Errorf("%s: problems (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
