// Package link carries connections between networks that cannot see each other,
// and spoils the one between akd and the remote API server on demand.
//
// It owns the forwarder, the link proxy and the proxy's control socket. It must
// not know namespaces: both programs are started where they are to dial.
//
//	kubectl ─► 127.0.0.1:PORT ─► Forward ─► API server
//	akd     ─► link address   ─► Proxy   ─► remote API server
//	                               ▲
//	clusters link --latency/--cut ─┘ unix socket
package link
