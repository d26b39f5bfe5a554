//go:build e2e

package env

import (
	"context"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Relay is a way to a server that can be cut.
type Relay struct {
	// Address is where it listens, on loopback.
	Address string

	listener net.Listener
	server   string

	mu    sync.Mutex
	conns []*net.TCPConn
	lost  bool
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
	return relay(t, listener, server.Host)
}

// LinkTo makes the remote API server of another pair of clusters reachable from within the
// local cluster's network, and returns the kubeconfig of an administrator for that way.
func (e *Env) LinkTo(t testing.TB, other *Env) (kubeconfig string, link *Relay) {
	t.Helper()
	server, err := url.Parse(other.RESTConfig(t, "remote").Host)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := e.listenLocal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	link = relay(t, listener, server.Host)
	config := loadKubeconfig(t, other.Kubeconfig("remote"))
	for _, cluster := range config.Clusters {
		cluster.Server, cluster.TLSServerName = "https://"+link.Address, server.Hostname()
	}
	kubeconfig = filepath.Join(t.TempDir(), "remote.kubeconfig")
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		t.Fatal(err)
	}
	return kubeconfig, link
}

func relay(t testing.TB, listener net.Listener, server string) *Relay {
	t.Helper()
	r := &Relay{Address: listener.Addr().String(), listener: listener, server: server}
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
	lost := r.lost
	r.conns = append(r.conns, client, server)
	r.mu.Unlock()
	if lost {
		return
	}
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

// Lose breaks all connections, and every new one at once, until Find.
func (r *Relay) Lose() {
	r.setLost(true)
	r.Cut()
}

// Find ends Lose.
func (r *Relay) Find() { r.setLost(false) }

func (r *Relay) setLost(lost bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = lost
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
