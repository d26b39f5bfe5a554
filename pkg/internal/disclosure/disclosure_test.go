package disclosure

import (
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"
)

// Conditions and events told every local user where the remote cluster is, and as
// whom akd acts there.
func TestText(t *testing.T) {
	cases := map[string]struct{ reason, text, want string }{
		"Forbidden": {
			reason: "the right that is missing stays",
			text: `create remote pod n1-93104c7ea350e1e1/web: pods is forbidden: User "system:serviceaccount:actual-system:vk" cannot create ` +
				`resource "pods" in API group "" in the namespace "n1-93104c7ea350e1e1"`,
			want: `create remote pod n1-93104c7ea350e1e1/web: pods is forbidden: akd cannot create resource "pods" in API group "" in the ` +
				`namespace "n1-93104c7ea350e1e1"`,
		},
		"Dial": {
			reason: "neither the URL nor the address",
			text: `get remote namespace n1-1: Get "https://10.1.2.3:6443/api/v1/namespaces/n1-1": ` +
				`dial tcp 10.1.2.3:6443: connect: connection refused`,
			want: "get remote namespace n1-1: Get a remote server: dial tcp: connect: connection refused",
		},
		"DialSixName": {
			reason: "IPv6 and names likewise",
			text:   "dial tcp [2001:db8::1]:6443: i/o timeout; dial tcp api.example.com:6443: i/o timeout; dial tcp: missing address",
			want:   "dial tcp: i/o timeout; dial tcp: i/o timeout; dial tcp: missing address",
		},
		"Read": {
			reason: "both ends of a connection",
			text:   "read tcp 10.244.0.7:41234->192.0.2.1:6443: read: connection reset by peer",
			want:   "read tcp: read: connection reset by peer",
		},
		"Lookup": {
			reason: "the name and the name server",
			text:   `Get "https://api.example.com/version": dial tcp: lookup api.example.com on 10.96.0.10:53: no such host`,
			want:   "Get a remote server: dial tcp: lookup of a remote server: no such host",
		},
		"Certificate": {
			reason: "a certificate names all addresses of its server",
			text: "tls: failed to verify certificate: " +
				"x509: certificate is valid for kubernetes, api.example.com, 192.0.2.1, not other.example.com",
			want: "tls: failed to verify certificate: x509: certificate is valid for other names",
		},
		"CertificateAddress": {
			reason: "likewise",
			text:   "x509: cannot validate certificate for 192.0.2.1 because it doesn't contain any IP SANs",
			want:   "x509: cannot validate certificate because it doesn't contain any IP SANs",
		},
		"Policy": {
			reason: "a policy may quote the user",
			text:   `ValidatingAdmissionPolicy 'p' with binding 'b' denied request: system:serviceaccount:actual-system:vk may not`,
			want:   `ValidatingAdmissionPolicy 'p' with binding 'b' denied request: akd may not`,
		},
		"Webhook": {
			reason: "a webhook that is down",
			text: `Internal error occurred: failed calling webhook "w.example.com": failed to call webhook: ` +
				`Post "https://w.hooks.svc:443/validate?timeout=10s": dial tcp 10.96.3.4:443: connect: connection refused`,
			want: `Internal error occurred: failed calling webhook "w.example.com": failed to call webhook: ` +
				`Post a remote server: dial tcp: connect: connection refused`,
		},
		"BareAddresses": {
			reason: "any form of an address",
			text:   "from 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1], fe80::1: no",
			want:   "from a remote server, a remote server, a remote server, a remote server, a remote server: no",
		},
		"NoAddresses": {
			reason: "times, versions, images and quantities are none",
			text:   "at 12:30:45 of 2030-01-01T00:00:00Z: busybox:1.36.1 v1.2.3 needs 1.5 of 2.5, sha256:abc0",
			want:   "at 12:30:45 of 2030-01-01T00:00:00Z: busybox:1.36.1 v1.2.3 needs 1.5 of 2.5, sha256:abc0",
		},
		"Lines": {
			reason: "one line, without control characters",
			text:   "one\ntwo\r\x1b[31mthree\n",
			want:   "one two  [31mthree",
		},
		"Long": {
			reason: "a webhook can answer with megabytes",
			text:   strings.Repeat("ä", 5000),
			want:   strings.Repeat("ä", maxLength-1) + "…",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Text(tc.text); got != tc.want {
				t.Errorf("%s:\n got %s\nwant %s", tc.reason, got, tc.want)
			}
		})
	}
}

// Whatever a server answers: no word of it is an address or names akd's user, and it
// is one short line.
func FuzzText(f *testing.F) {
	for _, seed := range []string{
		`User "system:serviceaccount:actual-system:vk" cannot`, "dial tcp [2001:db8::1]:6443: x", "https://10.0.0.1:6443/x", "::", "1.2.3.4:",
		"lookup a on 10.0.0.1:53: no", "certificate is valid for a, not b", "system:node:a:", "[::1%eth0]:80", "dial tcp 1.2.3.4:5->6.7.8.9:1: x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, message string) {
		got := Text(message)
		for _, word := range strings.FieldsFunc(got, func(r rune) bool { return strings.ContainsRune(" \"'(),;<>=", r) }) {
			if _, err := netip.ParseAddr(word); err == nil {
				t.Errorf("%q tells address %s: %q", message, word, got)
			}
			if _, err := netip.ParseAddrPort(word); err == nil {
				t.Errorf("%q tells address %s: %q", message, word, got)
			}
		}
		if strings.Contains(got, "system:serviceaccount:actual") {
			t.Errorf("%q tells who akd is: %q", message, got)
		}
		if strings.ContainsAny(got, "\n\r\x1b") || !utf8.ValidString(got) || utf8.RuneCountInString(got) > maxLength {
			t.Errorf("%q becomes %q, which is no short line", message, got)
		}
	})
}
