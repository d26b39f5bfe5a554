package kubeletapi

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// One peer could hold every connection without showing any right.
func TestUnauthenticatedPeersDoNotShutOutOthers(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.Limits.Connections = 8
		c.Limits.HeaderTime = time.Hour // silence alone ends nobody
	})
	dial := func(from string) net.Conn {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	modest := dial("127.0.0.2")
	var flood []net.Conn
	for range 100 {
		flood = append(flood, dial("127.0.0.3"))
	}
	for _, conn := range flood[:96] {
		_, _ = io.Copy(io.Discard, conn) // ends: akd has closed it
	}
	if res, body := e.ask(t, http.MethodGet, "/healthz", goodToken); res.StatusCode != http.StatusOK {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
	if err := modest.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := modest.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the only connection of its address was closed: %v", err)
	}
}

func TestSource(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7:1":             "192.0.2.7/32",
		"[::ffff:192.0.2.7]:1":    "192.0.2.7/32",
		"[2001:db8:1:2:3::4]:1":   "2001:db8:1:2::/64",
		"[fe80::1%lo]:1":          "fe80::/64",
		"[2001:db8:1:2:ffff::]:9": "2001:db8:1:2::/64",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, sourceOf(tcp).String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", addr, diff)
		}
	}
}
