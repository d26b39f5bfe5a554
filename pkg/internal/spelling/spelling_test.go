package spelling_test

import (
	"strings"
	"testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/spelling"
)

func TestNearest(t *testing.T) {
	cases := map[string]struct {
		reason string
		name   string
		names  []string
		want   string
	}{
		"Dropped":   {reason: "a letter is missing", name: "remot", names: []string{"local", "remote"}, want: "remote"},
		"Case":      {reason: "case is a typing error, too", name: "NodeName", names: []string{"nodeName"}, want: "nodeName"},
		"Closest":   {reason: "the nearest of several", name: "nodNam", names: []string{"node", "nodeName"}, want: "nodeName"},
		"Unrelated": {reason: "a guess would mislead", name: "production", names: []string{"local", "remote"}},
		"Nothing":   {reason: "there is nothing to choose from", name: "remote"},
		"Long":      {reason: "nobody mistypes so much", name: strings.Repeat("a", 1<<20), names: []string{"a"}},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			if got := spelling.Nearest(tc.name, tc.names); got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
