package kubeletapi

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// door lets connections in. A stranger, whose caller has shown no right yet,
// costs nothing to be; so strangers have places of their own, and when those
// are taken, the oldest one of the address that holds most of them goes. A
// flood thus shuts out itself, and not kube-apiserver.
type door struct {
	net.Listener
	places int // for strangers

	mu        sync.Mutex
	count     int
	strangers map[netip.Prefix][]*guest // oldest first
}

func newDoor(listener net.Listener, places int) *door {
	return &door{Listener: listener, places: max(places, 1), strangers: map[netip.Prefix][]*guest{}}
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guest{Conn: conn, door: d, source: sourceOf(conn.RemoteAddr())}
	if over := d.admit(g); over != nil {
		_ = over.Close()
	}
	return g, nil
}

// admit returns who has to go for it.
func (d *door) admit(g *guest) (over *guest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count >= d.places {
		var most []*guest
		for _, guests := range d.strangers {
			if len(guests) > len(most) {
				most = guests
			}
		}
		over = most[0]
		d.forget(over)
	}
	d.strangers[g.source] = append(d.strangers[g.source], g)
	d.count++
	return over
}

// forget is called with mu held.
func (d *door) forget(g *guest) {
	guests := d.strangers[g.source]
	i := slices.Index(guests, g)
	if i < 0 {
		return
	}
	d.count--
	if len(guests) == 1 {
		delete(d.strangers, g.source)
		return
	}
	d.strangers[g.source] = slices.Delete(guests, i, i+1)
}

// guest is a connection that came through the door.
type guest struct {
	net.Conn
	door   *door
	source netip.Prefix
}

// known takes the guest off the strangers.
func (g *guest) known() {
	g.door.mu.Lock()
	defer g.door.mu.Unlock()
	g.door.forget(g)
}

func (g *guest) Close() error {
	g.known()
	return g.Conn.Close()
}

// CloseWrite ends one half of a stream; see lingeringConn.
func (g *guest) CloseWrite() error {
	if half, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return g.Close()
}

// sourceOf is what one peer can call its own: an IPv4 address, or the /64 that
// an IPv6 host gets.
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

type guestKey struct{}

// withGuest is http.Server's ConnContext.
func withGuest(ctx context.Context, conn net.Conn) context.Context {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	return context.WithValue(ctx, guestKey{}, conn)
}

func knownGuest(ctx context.Context) {
	if g, ok := ctx.Value(guestKey{}).(*guest); ok {
		g.known()
	}
}
