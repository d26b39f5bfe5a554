package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// echo serves lines back to whoever sends them, until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	listener := listen(t)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); _, _ = io.Copy(conn, conn) }()
		}
	}()
	return listener.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// say sends a line and returns what comes back within timeout.
func say(conn net.Conn, line string, timeout time.Duration) (string, error) {
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return "", err
	}
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

func TestForward(t *testing.T) {
	target := echo(t)
	listener := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Forward(ctx, slog.New(slog.DiscardHandler), listener, target) }()

	conn := dial(t, listener.Addr().String())
	if _, err := io.WriteString(conn, "all of it"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	// The end of one direction must not end the other.
	back, err := io.ReadAll(conn)
	if diff := cmp.Diff("all of it", string(back)); err != nil || diff != "" {
		t.Errorf("%v: -want +got:\n%s", err, diff)
	}
	open := dial(t, listener.Addr().String())
	if _, err := say(open, "here", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("forward: %v", err)
	}
}

func startProxy(t *testing.T) (address string, control Control) {
	t.Helper()
	return startProxyTo(t, echo(t))
}

func startProxyTo(t *testing.T, target string) (address string, control Control) {
	t.Helper()
	// Longer than a socket's path may be.
	dir := filepath.Join(t.TempDir(), "a-run-folder-that-is-deep-in-a-tree-of-folders-with-rather-long-names-as-they-come-in-home-folders")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	holder := listen(t)
	address = holder.Addr().String()
	holder.Close()
	control = Control{Socket: filepath.Join(dir, "link.sock")}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- ServeProxy(ctx, address, target, control.Socket) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := control.State(ctx); err == nil {
			return address, control
		}
		select {
		case err := <-ended:
			t.Fatalf("proxy ended: %v", err)
		case <-deadline:
			t.Fatal("the proxy does not answer")
		case <-tick.C:
		}
	}
}

func TestLinkStates(t *testing.T) {
	_, control := startProxy(t)
	states := []State{
		{Latency: 50 * time.Millisecond},
		{Latency: 100 * time.Millisecond},
		{Cut: true},
		{HalfOpen: true},
		{Reset: true},
		{},
		{},
	}
	for _, want := range states {
		if err := control.Set(context.Background(), want); err != nil {
			t.Fatal(err)
		}
		got, err := control.State(context.Background())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v: -want +got:\n%s", err, diff)
		}
	}
}

// A cut link is silent on old and new connections; a restored one carries new ones.
func TestCutIsSilent(t *testing.T) {
	address, control := startProxy(t)
	ctx := context.Background()
	old := dial(t, address)
	if _, err := say(old, "before", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := control.Set(ctx, State{Cut: true}); err != nil {
		t.Fatal(err)
	}
	for name, conn := range map[string]net.Conn{"old": old, "new": dial(t, address)} {
		if answer, err := say(conn, "lost", 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s connection over a cut link: %q, %v, want silence", name, answer, err)
		}
	}
	if err := control.Set(ctx, State{}); err != nil {
		t.Fatal(err)
	}
	if answer, err := say(dial(t, address), "after", 10*time.Second); err != nil || answer != "after\n" {
		t.Errorf("after the restore: %q, %v", answer, err)
	}
}

// A request may have its effect although the answer never comes.
func TestHalfOpenLosesAnswers(t *testing.T) {
	target := listen(t)
	heard := make(chan string, 1)
	go func() {
		conn, err := target.Accept()
		if err != nil {
			return
		}
		t.Cleanup(func() { conn.Close() }) // the end of a connection would get through
		line, _ := bufio.NewReader(conn).ReadString('\n')
		_, _ = io.WriteString(conn, line)
		heard <- line
	}()
	address, control := startProxyTo(t, target.Addr().String())
	if err := control.Set(context.Background(), State{HalfOpen: true}); err != nil {
		t.Fatal(err)
	}
	if answer, err := say(dial(t, address), "request", 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %q, %v, want silence", answer, err)
	}
	select {
	case line := <-heard:
		if line != "request\n" {
			t.Errorf("the server heard %q", line)
		}
	case <-time.After(10 * time.Second):
		t.Error("the server heard nothing")
	}
}

// Old and new connections end as soon as they are used; those after a restore do not.
func TestResetEndsConnections(t *testing.T) {
	address, control := startProxy(t)
	ctx := context.Background()
	old := dial(t, address)
	if _, err := say(old, "before", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := control.Set(ctx, State{Reset: true}); err != nil {
		t.Fatal(err)
	}
	for name, conn := range map[string]net.Conn{"old": old, "new": dial(t, address)} {
		if answer, err := say(conn, "lost", 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s connection: %q, %v, want its end", name, answer, err)
		}
	}
	if err := control.Set(ctx, State{}); err != nil {
		t.Fatal(err)
	}
	if answer, err := say(dial(t, address), "after", 10*time.Second); err != nil || answer != "after\n" {
		t.Errorf("after the restore: %q, %v", answer, err)
	}
}
