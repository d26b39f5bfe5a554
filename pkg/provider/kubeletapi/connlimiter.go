package kubeletapi

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// connLimiter limits the connections of callers who have not shown any right.
// Opening such a connection costs a peer nothing, so they have a limit of their
// own. Beyond it, the limiter closes the oldest unauthenticated connection of the
// address that holds most of them: a flood shuts out itself, and not
// kube-apiserver.
type connLimiter struct {
	net.Listener
	limit int // of unauthenticated connections

	mu              sync.Mutex
	count           int
	unauthenticated map[netip.Prefix][]*limitedConn // oldest first
}

func newConnLimiter(listener net.Listener, limit int) *connLimiter {
	return &connLimiter{Listener: listener, limit: max(limit, 1), unauthenticated: map[netip.Prefix][]*limitedConn{}}
}

// Accept implements net.Listener.
func (l *connLimiter) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &limitedConn{Conn: conn, limiter: l, source: sourceOf(conn.RemoteAddr())}
	if evicted := l.add(c); evicted != nil {
		_ = evicted.Close()
	}
	return c, nil
}

// add returns the connection to close in exchange, if any.
func (l *connLimiter) add(c *limitedConn) (evicted *limitedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count >= l.limit {
		var most []*limitedConn
		for _, conns := range l.unauthenticated {
			if len(conns) > len(most) {
				most = conns
			}
		}
		evicted = most[0]
		l.remove(evicted)
	}
	l.unauthenticated[c.source] = append(l.unauthenticated[c.source], c)
	l.count++
	return evicted
}

// remove is called with mu held.
func (l *connLimiter) remove(c *limitedConn) {
	conns := l.unauthenticated[c.source]
	i := slices.Index(conns, c)
	if i < 0 {
		return
	}
	l.count--
	if len(conns) == 1 {
		delete(l.unauthenticated, c.source)
		return
	}
	l.unauthenticated[c.source] = slices.Delete(conns, i, i+1)
}

// limitedConn is a connection that a connLimiter accepted.
type limitedConn struct {
	net.Conn
	limiter *connLimiter
	source  netip.Prefix
}

// markAuthorized exempts the connection from the limit.
func (c *limitedConn) markAuthorized() {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.limiter.remove(c)
}

func (c *limitedConn) Close() error {
	c.markAuthorized()
	return c.Conn.Close()
}

// CloseWrite ends one half of a stream; see lingeringConn.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// sourceOf is what one peer controls: an IPv4 address, or the /64 that an IPv6
// host gets.
func sourceOf(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	source, _ := ip.Prefix(bits)
	return source
}

type connKey struct{}

// withConn is the ConnContext of the http.Server.
func withConn(ctx context.Context, conn net.Conn) context.Context {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	return context.WithValue(ctx, connKey{}, conn)
}

// markAuthorized marks the connection of a request.
func markAuthorized(ctx context.Context) {
	if c, ok := ctx.Value(connKey{}).(*limitedConn); ok {
		c.markAuthorized()
	}
}
