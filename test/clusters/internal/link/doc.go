// Package link carries connections between networks that cannot reach each other,
// and slows down or cuts the link between akd and the remote API server on demand.
//
// It owns the forwarder, the link proxy and the proxy's control socket. It must
// not know namespaces: both programs are started in the namespace that they dial
// from.
//
//	kubectl ─► 127.0.0.1:PORT ─► Forward ─► API server
//	akd     ─► link address   ─► Proxy   ─► remote API server
//	                               ▲
//	clusters link --latency/--cut… ┘ unix socket
package link
