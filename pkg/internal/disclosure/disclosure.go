package disclosure

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxLength is the number of characters of a message. The API accepts 1024 bytes in
	// an event; a webhook can answer with megabytes.
	maxLength = 1000
	// server replaces the address of a remote machine, and akd the identity of akd.
	server = "a remote server"
	akd    = "akd"
)

// replacement is what a part of a message becomes. Only a message that contains one of the
// hints can match: a pattern is slow, and in an outage each try of each pod has a message.
type replacement struct {
	hints   []string
	pattern *regexp.Regexp
	with    string
}

func (r replacement) in(text string) string {
	if !slices.ContainsFunc(r.hints, func(hint string) bool { return strings.Contains(text, hint) }) {
		return text
	}
	return r.pattern.ReplaceAllString(text, r.with)
}

// replacements are applied in this order: a URL contains addresses.
//
//nolint:gochecknoglobals // never written
var replacements = []replacement{
	{[]string{"://"}, regexp.MustCompile(`"?\b[A-Za-z][A-Za-z0-9+.-]*://[^\s"'\\]*"?`), server},
	// net.OpError: dial tcp 192.0.2.1:6443: …, and read tcp 10.0.0.1:40000->192.0.2.1:6443: …
	{
		[]string{"tcp", "udp"},
		regexp.MustCompile(`\b(dial|read|write|proxyconnect) (tcp|udp)[46]? [^\s:\[]*(\[[^\]\s]*\])?[^\s\[]*:(\s|$)`),
		"$1 $2:$4",
	},
	// net.DNSError: lookup api.example.com on 192.0.2.53:53: …
	{[]string{"lookup"}, regexp.MustCompile(`\blookup [^\s:]+( on \S+:\d+)?`), "lookup of " + server},
	// x509.HostnameError.
	{
		[]string{"certificate is valid"},
		regexp.MustCompile(`\bcertificate is valid for [^"\n]*, not [^\s"]+`),
		"certificate is valid for other names",
	},
	{
		[]string{"certificate is not valid"},
		regexp.MustCompile(`\bcertificate is not valid for any names, but wanted to match [^\s"]+`),
		"certificate is not valid for any names",
	},
	{
		[]string{"cannot validate certificate"},
		regexp.MustCompile(`\bcannot validate certificate for [^\s"]+`),
		"cannot validate certificate",
	},
	// The authorizer of an API server, and the text of policies.
	{[]string{"ser "}, regexp.MustCompile(`\b[Uu]ser ("[^"]*"|'[^']*')`), akd},
	{[]string{"system:"}, regexp.MustCompile(`system:(serviceaccounts?|node)(:[A-Za-z0-9._-]+)+`), akd},
}

// address finds what may be an IP address, with a port or without.
var address = regexp.MustCompile(`\[[0-9A-Fa-f:.]+(%[^\]\s]*)?\](:\d+)?|[0-9A-Fa-f]*[:.][0-9A-Fa-f:.]*[0-9A-Fa-f:]`)

// Text returns what local users may read of an error: one line of at most 1,000
// characters, without addresses of remote machines and without the name of akd's
// remote user. What an API server says of the request itself stays.
func Text(message string) string {
	text := strings.Map(printable, strings.ToValidUTF8(message, "\uFFFD"))
	for _, one := range replacements {
		text = one.in(text)
	}
	text = strings.TrimSpace(address.ReplaceAllStringFunc(text, hideAddress))
	if utf8.RuneCountInString(text) > maxLength {
		text = string([]rune(text)[:maxLength-1]) + "…"
	}
	return text
}

// printable keeps a message in one line, whatever wrote it.
func printable(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}

// hideAddress returns the text unless it is an IP address, which the colon of a
// sentence may follow.
func hideAddress(text string) string {
	if isAddress(text) {
		return server
	}
	if bare, ok := strings.CutSuffix(text, ":"); ok && isAddress(bare) {
		return server + ":"
	}
	return text
}

func isAddress(text string) bool {
	if _, err := netip.ParseAddrPort(text); err == nil {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return err == nil
}
