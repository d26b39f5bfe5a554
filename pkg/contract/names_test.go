package contract

import (
	"strings"
	"testing"
)

func TestRemoteNamespace(t *testing.T) {
	cases := map[string]struct {
		reason          string
		node, namespace string
		want            string
	}{
		"Contract": {
			reason: "The name of a remote namespace is a contract: other programs compute it too.",
			node:   "vk-ak-example", namespace: "crossplane-system",
			want: "vk-ak-example-d05fe343c4951ecb",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := RemoteNamespace(tc.node, tc.namespace); got != tc.want {
				t.Errorf("%s\nRemoteNamespace(%q, %q) = %q, want %q", tc.reason, tc.node, tc.namespace, got, tc.want)
			}
		})
	}
}

func TestCheckNodeName(t *testing.T) {
	cases := map[string]struct {
		reason string
		node   string
		wants  string // substring of the error; "" means no error
	}{
		"Longest":  {reason: "With 46 characters a namespace has 63.", node: strings.Repeat("n", 46)},
		"TooLong":  {reason: "With 47 a namespace would have 64.", node: strings.Repeat("n", 47), wants: "at most 46"},
		"Dots":     {reason: "A namespace is one DNS label.", node: "a.b", wants: "DNS label"},
		"Empty":    {reason: "A node has a name.", node: "", wants: "DNS label"},
		"Capitals": {reason: "DNS labels are in lower case.", node: "Node", wants: "DNS label"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := CheckNodeName(tc.node)
			if (err == nil) != (tc.wants == "") || err != nil && !strings.Contains(err.Error(), tc.wants) {
				t.Errorf("%s\nCheckNodeName(%q) = %v, want an error with %q", tc.reason, tc.node, err, tc.wants)
			}
		})
	}
}
