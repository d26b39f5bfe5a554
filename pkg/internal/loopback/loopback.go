package loopback

import (
	"net"
	"strings"
)

// Is reports whether a host, a name or an IP address, means whoever uses it:
// localhost and names below it (RFC 6761), loopback addresses, and the
// unspecified address, to which connections go to this machine as well. Such an
// address never leads to a cluster from somewhere else.
func Is(host string) bool {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}
