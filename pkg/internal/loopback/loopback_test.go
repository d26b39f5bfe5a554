package loopback_test

import (
	"testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/loopback"
)

func TestIs(t *testing.T) {
	cases := map[string]struct {
		reason string
		host   string
		want   bool
	}{
		"Name":        {reason: "the usual name", host: "localhost", want: true},
		"UpperCase":   {reason: "names have no case", host: "LocalHost", want: true},
		"Rooted":      {reason: "a name may end with a dot", host: "localhost.", want: true},
		"Below":       {reason: "RFC 6761 reserves the whole domain", host: "api.localhost", want: true},
		"IPv4":        {reason: "all of 127.0.0.0/8", host: "127.8.0.1", want: true},
		"IPv6":        {reason: "likewise", host: "::1", want: true},
		"Unspecified": {reason: "it connects to this machine", host: "0.0.0.0", want: true},
		"Elsewhere":   {reason: "an address of another machine", host: "192.0.2.1"},
		"Similar":     {reason: "another name that only ends alike", host: "notlocalhost"},
		"Empty":       {reason: "no host is no loopback host", host: ""},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			if got := loopback.Is(tc.host); got != tc.want {
				t.Errorf("%s: got %t", tc.reason, got)
			}
		})
	}
}
