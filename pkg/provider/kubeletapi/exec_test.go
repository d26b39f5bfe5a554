package kubeletapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	client "k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	server "k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

const execPath = "/exec/shop/web/main?command=sh&command=-c&output=1&error=1"

// executors are the two ways in. The kubelet-side streaming server of the fake remote
// speaks version 4 of the WebSocket protocol, as kubelets do.
func executors(t *testing.T, e *env, path string) map[string]client.Executor {
	t.Helper()
	u, err := url.Parse("https://" + e.addr + path)
	if err != nil {
		t.Fatal(err)
	}
	spdyExecutor, err := client.NewSPDYExecutor(e.config(t), http.MethodPost, u)
	if err != nil {
		t.Fatal(err)
	}
	wsExecutor, err := client.NewWebSocketExecutorForProtocols(e.config(t), http.MethodGet, u.String(), "v4.channel.k8s.io")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]client.Executor{"SPDY": spdyExecutor, "WebSocket": wsExecutor}
}

func TestExecExitCode(t *testing.T) {
	e := newEnv(t)
	e.remote.command = func(_ context.Context, _ io.Reader, out, stderr io.WriteCloser, cmd []string, _ <-chan server.TerminalSize) error {
		fmt.Fprintf(out, "out %q", cmd)
		fmt.Fprint(stderr, "err")
		return exitWith(42)
	}
	for name, executor := range executors(t, e, execPath+"&command=exit+42") {
		t.Run(name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			err := executor.StreamWithContext(t.Context(), client.StreamOptions{Stdout: &out, Stderr: &stderr})
			var exit exec.CodeExitError
			if !errors.As(err, &exit) || exit.Code != 42 {
				t.Errorf("got error %v, want exit code 42", err)
			}
			if diff := cmp.Diff([]string{`out ["sh" "-c" "exit 42"]`, "err"}, []string{out.String(), stderr.String()}); diff != "" {
				t.Errorf("outputs (-want +got):\n%s", diff)
			}
			got := e.remote.last()
			if got.ProtoMajor != 1 {
				t.Errorf("upgrade went over %s", got.Proto)
			}
			if diff := cmp.Diff(url.Values{
				"container": {"main"}, "command": {"sh", "-c", "exit 42"}, "stdout": {"true"}, "stderr": {"true"},
			}, got.URL.Query()); diff != "" {
				t.Errorf("query (-want +got):\n%s", diff)
			}
		})
	}
}

// noise yields n pseudo-random bytes and their checksum.
func noise(n int64) (io.Reader, hash.Hash) {
	sum := sha256.New()
	source := rand.NewChaCha8([32]byte{7})
	return io.TeeReader(io.LimitReader(source, n), sum), sum
}

func TestExecCarriesMuchDataBothWays(t *testing.T) {
	const size = 16 << 20
	e := newEnv(t)
	// The command ends when its stdin does: the half-close must arrive.
	e.remote.command = func(_ context.Context, in io.Reader, out, _ io.WriteCloser, _ []string, _ <-chan server.TerminalSize) error {
		_, err := io.Copy(out, in)
		return err
	}
	const path = "/exec/shop/web/uid-web/main?command=cat&input=1&output=1"
	// Version 4 of the WebSocket protocol has no half-close, version 5 has.
	v5, err := client.NewWebSocketExecutor(e.config(t), http.MethodGet, "https://"+e.addr+path)
	if err != nil {
		t.Fatal(err)
	}
	for name, executor := range map[string]client.Executor{"SPDY": executors(t, e, path)["SPDY"], "WebSocket": v5} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			in, sent := noise(size)
			received := sha256.New()
			if err := executor.StreamWithContext(t.Context(), client.StreamOptions{Stdin: in, Stdout: received}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sent.Sum(nil), received.Sum(nil)); diff != "" {
				t.Errorf("checksums (-sent +received):\n%s", diff)
			}
			e.settled(t, before)
		})
	}
}

// BenchmarkExec compares the bytes of an exec through akd with the same asked
// of the remote directly.
func BenchmarkExec(b *testing.B) {
	const size = 64 << 20
	block := make([]byte, 32<<10)
	e := newEnv(b)
	e.remote.command = func(_ context.Context, _ io.Reader, out, _ io.WriteCloser, _ []string, _ <-chan server.TerminalSize) error {
		for range size / len(block) {
			if _, err := out.Write(block); err != nil {
				return err
			}
		}
		return nil
	}
	direct := e.remote.config()
	through, err := url.Parse("https://" + e.addr + "/exec/shop/web/main?command=cat&output=1")
	if err != nil {
		b.Fatal(err)
	}
	past, err := url.Parse(direct.Host + "/api/v1/namespaces/" + remoteNamespace + "/pods/web/exec?command=cat&stdout=true")
	if err != nil {
		b.Fatal(err)
	}
	for name, way := range map[string]struct {
		config *rest.Config
		url    *url.URL
	}{"Direct": {direct, past}, "ThroughAkd": {e.config(b), through}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				executor, err := client.NewSPDYExecutor(way.config, http.MethodPost, way.url)
				if err != nil {
					b.Fatal(err)
				}
				if err := executor.StreamWithContext(b.Context(), client.StreamOptions{Stdout: io.Discard}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type sizes chan client.TerminalSize

func (s sizes) Next() *client.TerminalSize {
	size, ok := <-s
	if !ok {
		return nil
	}
	return &size
}

func TestAttachTerminalResizes(t *testing.T) {
	e := newEnv(t)
	e.remote.command = func(_ context.Context, _ io.Reader, out, _ io.WriteCloser, _ []string, resize <-chan server.TerminalSize) error {
		for range 2 {
			size := <-resize
			fmt.Fprintf(out, "%dx%d ", size.Width, size.Height)
		}
		return nil
	}
	for name, executor := range executors(t, e, "/attach/shop/web/main?tty=1&output=1&input=1&error=1") {
		t.Run(name, func(t *testing.T) {
			queue := make(sizes, 2)
			queue <- client.TerminalSize{Width: 80, Height: 24}
			queue <- client.TerminalSize{Width: 132, Height: 43}
			defer close(queue)
			var out bytes.Buffer
			stdin, typing := io.Pipe()
			defer typing.Close()
			err := executor.StreamWithContext(t.Context(), client.StreamOptions{
				Stdin: stdin, Stdout: &out, Tty: true, TerminalSizeQueue: queue,
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff("80x24 132x43 ", out.String()); diff != "" {
				t.Errorf("sizes (-want +got):\n%s", diff)
			}
			if got := e.remote.last().URL.Query().Get("stderr"); got != "" {
				t.Errorf("a terminal has no stderr, but stderr=%s was asked for", got)
			}
		})
	}
}

func TestStreamEndsWhenCallerDoes(t *testing.T) {
	e := newEnv(t)
	e.remote.command = func(_ context.Context, in io.Reader, out, _ io.WriteCloser, _ []string, _ <-chan server.TerminalSize) error {
		fmt.Fprint(out, "ready")
		_, err := io.Copy(io.Discard, in)
		return err
	}
	for _, name := range []string{"SPDY", "WebSocket"} {
		t.Run(name, func(t *testing.T) {
			const sessions = 20
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(t.Context())
			stdin, typing := io.Pipe()
			ready := make(chan struct{}, sessions)
			var wg sync.WaitGroup
			for range sessions {
				executor := executors(t, e, "/exec/shop/web/main?command=cat&input=1&output=1")[name]
				wg.Go(func() {
					_ = executor.StreamWithContext(ctx, client.StreamOptions{Stdin: stdin, Stdout: writerFunc(func() { ready <- struct{}{} })})
				})
			}
			for range sessions {
				<-ready
			}
			if got := e.streams.open(); got != sessions {
				t.Errorf("%d streams are counted, want %d", got, sessions)
			}
			cancel()
			wg.Wait()
			_ = typing.Close()
			e.settled(t, before)
		})
	}
}

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) { f(); return len(p), nil }

func TestStreamEndsWhenRemoteDoes(t *testing.T) {
	e := newEnv(t)
	e.remote.command = func(ctx context.Context, _ io.Reader, out, _ io.WriteCloser, _ []string, _ <-chan server.TerminalSize) error {
		fmt.Fprint(out, "ready")
		<-ctx.Done()
		return ctx.Err()
	}
	before := runtime.NumGoroutine()
	executor := executors(t, e, "/exec/shop/web/main?command=cat&input=1&output=1")["SPDY"]
	stdin, typing := io.Pipe()
	ended := make(chan error)
	ready := make(chan struct{}, 1)
	go func() {
		ended <- executor.StreamWithContext(t.Context(), client.StreamOptions{Stdin: stdin, Stdout: writerFunc(func() { ready <- struct{}{} })})
	}()
	<-ready
	e.remote.cut()
	<-ended
	_ = typing.Close()
	e.settled(t, before)
}
