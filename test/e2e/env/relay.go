//go:build e2e

package env

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// Relay is a way to a server that can be cut.
type Relay struct {
	// Address is where it listens, on loopback.
	Address string

	listener net.Listener
	server   string

	mu    sync.Mutex
	conns []*net.TCPConn
}

// StartRelay makes the configuration's server reachable at the relay's address,
// until the test ends. It changes the configuration so that clients verify the
// server by its own name.
func StartRelay(t testing.TB, config *rest.Config) *Relay {
	t.Helper()
	server, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	config.ServerName = server.Hostname()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Address: listener.Addr().String(), listener: listener, server: server.Host}
	done := make(chan struct{})
	go func() { defer close(done); r.serve(t.Context()) }()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return r
}

func (r *Relay) serve(ctx context.Context) {
	var open sync.WaitGroup
	defer open.Wait()
	defer r.Cut()
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		open.Go(func() { r.carry(ctx, conn) })
	}
}

// carry passes on what either side sends, until both have ended.
func (r *Relay) carry(ctx context.Context, accepted net.Conn) {
	defer func() { _ = accepted.Close() }()
	dialed, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.server)
	if err != nil {
		return
	}
	defer func() { _ = dialed.Close() }()
	client, isTCP := accepted.(*net.TCPConn)
	server, areTCP := dialed.(*net.TCPConn)
	if !isTCP || !areTCP {
		return // impossible: both were opened as TCP
	}
	r.mu.Lock()
	r.conns = append(r.conns, client, server)
	r.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, client)
		_ = server.CloseWrite()
	}()
	_, _ = io.Copy(client, server)
	_ = client.CloseWrite()
	<-done
}

// Cut breaks all connections: half of them with a reset, half with an end.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, conn := range r.conns {
		if i/2%2 == 0 {
			_ = conn.SetLinger(0)
		}
		_ = conn.Close()
	}
	r.conns = nil
}
