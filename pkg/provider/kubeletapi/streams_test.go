package kubeletapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	client "k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
	server "k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

const execPath = "/exec/shop/web/main?command=sh&command=-c&output=1&error=1"

// executors are the two ways in. The kubelet-side streaming server of the bed
// speaks version 4 of the WebSocket protocol, as kubelets do.
func executors(t *testing.T, b *bed, path string) map[string]client.Executor {
	t.Helper()
	u, err := url.Parse("https://" + b.addr + path)
	if err != nil {
		t.Fatal(err)
	}
	spdyExecutor, err := client.NewSPDYExecutor(b.config(t), http.MethodPost, u)
	if err != nil {
		t.Fatal(err)
	}
	wsExecutor, err := client.NewWebSocketExecutorForProtocols(b.config(t), http.MethodGet, u.String(), "v4.channel.k8s.io")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]client.Executor{"SPDY": spdyExecutor, "WebSocket": wsExecutor}
}

func TestExecExitCode(t *testing.T) {
	b := newBed(t)
	b.remote.command = func(_ context.Context, _ io.Reader, out, stderr io.WriteCloser, cmd []string, _ <-chan server.TerminalSize) error {
		fmt.Fprintf(out, "out %q", cmd)
		fmt.Fprint(stderr, "err")
		return exitWith(42)
	}
	for name, executor := range executors(t, b, execPath+"&command=exit+42") {
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
			got := b.remote.last()
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
	b := newBed(t)
	// The command ends when its stdin does: the half-close must arrive.
	b.remote.command = func(_ context.Context, in io.Reader, out, _ io.WriteCloser, _ []string, _ <-chan server.TerminalSize) error {
		_, err := io.Copy(out, in)
		return err
	}
	const path = "/exec/shop/web/uid-web/main?command=cat&input=1&output=1"
	// Version 4 of the WebSocket protocol has no half-close, version 5 has.
	v5, err := client.NewWebSocketExecutor(b.config(t), http.MethodGet, "https://"+b.addr+path)
	if err != nil {
		t.Fatal(err)
	}
	for name, executor := range map[string]client.Executor{"SPDY": executors(t, b, path)["SPDY"], "WebSocket": v5} {
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
			b.settled(t, before)
		})
	}
}

// BenchmarkExec compares the bytes of an exec through akd with the same asked
// of the remote directly.
func BenchmarkExec(b *testing.B) {
	const size = 64 << 20
	block := make([]byte, 32<<10)
	bed := newBed(b)
	bed.remote.command = func(_ context.Context, _ io.Reader, out, _ io.WriteCloser, _ []string, _ <-chan server.TerminalSize) error {
		for range size / len(block) {
			if _, err := out.Write(block); err != nil {
				return err
			}
		}
		return nil
	}
	direct := bed.remote.config()
	through, err := url.Parse("https://" + bed.addr + "/exec/shop/web/main?command=cat&output=1")
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
	}{"Direct": {direct, past}, "ThroughAkd": {bed.config(b), through}} {
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
	b := newBed(t)
	b.remote.command = func(_ context.Context, _ io.Reader, out, _ io.WriteCloser, _ []string, resize <-chan server.TerminalSize) error {
		for range 2 {
			size := <-resize
			fmt.Fprintf(out, "%dx%d ", size.Width, size.Height)
		}
		return nil
	}
	for name, executor := range executors(t, b, "/attach/shop/web/main?tty=1&output=1&input=1&error=1") {
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
			if got := b.remote.last().URL.Query().Get("stderr"); got != "" {
				t.Errorf("a terminal has no stderr, but stderr=%s was asked for", got)
			}
		})
	}
}

func TestStreamEndsWhenCallerDoes(t *testing.T) {
	b := newBed(t)
	b.remote.command = func(_ context.Context, in io.Reader, out, _ io.WriteCloser, _ []string, _ <-chan server.TerminalSize) error {
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
				executor := executors(t, b, "/exec/shop/web/main?command=cat&input=1&output=1")[name]
				wg.Go(func() {
					_ = executor.StreamWithContext(ctx, client.StreamOptions{Stdin: stdin, Stdout: writerFunc(func() { ready <- struct{}{} })})
				})
			}
			for range sessions {
				<-ready
			}
			if got := b.streams.taken(); got != sessions {
				t.Errorf("%d streams are counted, want %d", got, sessions)
			}
			cancel()
			wg.Wait()
			_ = typing.Close()
			b.settled(t, before)
		})
	}
}

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) { f(); return len(p), nil }

func TestStreamEndsWhenRemoteDoes(t *testing.T) {
	b := newBed(t)
	b.remote.command = func(ctx context.Context, _ io.Reader, out, _ io.WriteCloser, _ []string, _ <-chan server.TerminalSize) error {
		fmt.Fprint(out, "ready")
		<-ctx.Done()
		return ctx.Err()
	}
	before := runtime.NumGoroutine()
	executor := executors(t, b, "/exec/shop/web/main?command=cat&input=1&output=1")["SPDY"]
	stdin, typing := io.Pipe()
	ended := make(chan error)
	ready := make(chan struct{}, 1)
	go func() {
		ended <- executor.StreamWithContext(t.Context(), client.StreamOptions{Stdin: stdin, Stdout: writerFunc(func() { ready <- struct{}{} })})
	}()
	<-ready
	b.remote.cut()
	<-ended
	_ = typing.Close()
	b.settled(t, before)
}

func TestPortForwardManyConnections(t *testing.T) {
	b := newBed(t)
	b.remote.port = func(stream io.ReadWriteCloser, port int32) error {
		fmt.Fprintf(stream, "%d:", port)
		_, err := io.Copy(stream, stream)
		return err
	}
	transport, upgrader, err := spdy.RoundTripperFor(b.config(t))
	if err != nil {
		t.Fatal(err)
	}
	u := &url.URL{Scheme: "https", Host: b.addr, Path: "/portForward/shop/web"}
	conn, _, err := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, u).Dial("portforward.k8s.io")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			header := http.Header{}
			header.Set("streamType", "error")
			header.Set("port", "8080")
			header.Set("requestID", fmt.Sprint(i))
			if _, err := conn.CreateStream(header); err != nil {
				t.Error(err)
				return
			}
			header.Set("streamType", "data")
			data, err := conn.CreateStream(header)
			if err != nil {
				t.Error(err)
				return
			}
			want := strings.Repeat(fmt.Sprint(i), 10_000)
			go func() { _, _ = io.WriteString(data, want); _ = data.Close() }()
			got, err := io.ReadAll(data)
			if err != nil || string(got) != "8080:"+want {
				t.Errorf("connection %d: %d bytes of %d, error %v", i, len(got), len(want)+5, err)
			}
		})
	}
	wg.Wait()
}

func TestLogs(t *testing.T) {
	b := newBed(t)
	b.remote.logs = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "a line of "+remoteNamespace+"\n")
	}
	cases := map[string]struct {
		reason string
		query  string
		want   url.Values
	}{
		"None":      {"the container is always named", "", url.Values{"container": {"main"}}},
		"TailZero":  {"zero lines are not all lines", "?tailLines=0", url.Values{"container": {"main"}, "tailLines": {"0"}}},
		"TailAlias": {"the kubelet's older name", "?tail=5", url.Values{"container": {"main"}, "tailLines": {"5"}}},
		"TailAll":   {"all is no limit", "?tail=all&tailLines=3", url.Values{"container": {"main"}}},
		"StreamAll": {"older API servers refuse the field", "?stream=All", url.Values{"container": {"main"}}},
		"Everything": {"each option arrives",
			"?follow=true&previous=true&sinceSeconds=9&sinceTime=2026-01-02T03:04:05Z&timestamps=true&limitBytes=7&stream=Stderr&other=1",
			url.Values{"container": {"main"}, "follow": {"true"}, "previous": {"true"}, "sinceSeconds": {"9"},
				"sinceTime": {"2026-01-02T03:04:05Z"}, "timestamps": {"true"}, "limitBytes": {"7"}, "stream": {"Stderr"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			res, body := b.ask(t, http.MethodGet, "/containerLogs/shop/web/main"+tc.query, goodToken)
			if res.StatusCode != http.StatusOK || body != "a line of "+remoteNamespace+"\n" {
				t.Errorf("%s: got %d %q, want the line untouched", tc.reason, res.StatusCode, body)
			}
			if diff := cmp.Diff(tc.want, b.remote.last().URL.Query()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if res.Header.Get("Audit-Id") != "" {
				t.Error("the remote's audit id came through")
			}
		})
	}
}

func TestFollowedLogsComeAtOnceAndStopWithTheCaller(t *testing.T) {
	b := newBed(t)
	gone := make(chan struct{})
	b.remote.logs = func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "first\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+b.addr+"/containerLogs/shop/web/main?follow=true", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+goodToken)
	res, err := b.client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	line := make([]byte, 6)
	if _, err := io.ReadFull(res.Body, line); err != nil || string(line) != "first\n" {
		t.Fatalf("got %q, error %v", line, err)
	}
	cancel()
	<-gone
}

func TestCallersHeadersStayHere(t *testing.T) {
	b := newBed(t)
	b.remote.logs = func(http.ResponseWriter, *http.Request) {}
	req, err := http.NewRequest(http.MethodGet, "https://"+b.addr+"/containerLogs/shop/web/main", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Authorization": "Bearer " + goodToken, "Impersonate-User": "admin", "Impersonate-Group": "system:masters",
		"Cookie": "secret", "X-Remote-User": "admin", "X-Forwarded-For": "192.0.2.1",
	} {
		req.Header.Set(name, value)
	}
	res, err := b.client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	got := b.remote.last().Header
	for _, name := range []string{"Impersonate-User", "Impersonate-Group", "Cookie", "X-Remote-User", "X-Forwarded-For"} {
		if value := got.Get(name); value != "" {
			t.Errorf("%s: %s reached the remote", name, value)
		}
	}
	if got.Get("Authorization") != "Bearer "+remoteToken {
		t.Error("the remote did not get akd's own credentials alone")
	}
}

// A browser's token travels as a subprotocol: good for us, not for the remote.
func TestProtocolTokenIsTakenOut(t *testing.T) {
	const encoded = "base64url.bearer.authorization.k8s.io.dG9rZW4td2l0aC1yaWdodHM" // goodToken
	b := newBed(t)
	b.remote.fail = refuse(400, metav1.StatusReasonBadRequest, "enough")
	req, err := http.NewRequest(http.MethodGet, "https://"+b.addr+execPath, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	req.Header.Set("Sec-Websocket-Protocol", encoded+", v5.channel.k8s.io")
	res, err := b.client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("got %d: the token was not accepted", res.StatusCode)
	}
	if diff := cmp.Diff([]string{"v5.channel.k8s.io"}, b.remote.last().Header.Values("Sec-Websocket-Protocol")); diff != "" {
		t.Errorf("protocols at the remote (-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	leak := `Get "https://10.1.2.3:10250/containerLogs/` + remoteNamespace + `/web/main": dial tcp 10.1.2.3:10250: connect: connection refused`
	denied := `pods "web" is forbidden: User "system:serviceaccount:actual-system:vk" cannot create resource "pods/exec" in API group "" in the namespace "` + remoteNamespace + `"`
	cases := map[string]struct {
		reason string
		path   string
		fail   http.HandlerFunc
		code   int
		want   string
	}{
		"NoSuchPod": {"not ours", "/exec/shop/other/main?command=a&output=1", nil, 404, `pod "other" not found in namespace "shop" on this node`},
		"OtherUID":  {"a path with a UID means that very pod", "/exec/shop/web/uid-old/main?command=a&output=1", nil, 404, `pod "web" not found in namespace "shop" on this node`},
		"NotCreated": {"what a kubelet says before it starts a container", "/exec/shop/pending/main?command=a&output=1", nil, 400,
			`container "main" in pod "pending" is waiting to start: the pod has not been created in the remote cluster yet; its events say why`},
		"NoStreams": {"as a kubelet", "/exec/shop/web/main?command=a", nil, 400, `you must specify at least 1 of stdin, stdout, stderr`},
		"BadPort":   {"ports are numbers", "/portForward/shop/web?port=http", nil, 400, `port "http" is not a number from 0 to 65535`},
		"Waiting": {"the remote's own sentence, in local names", "/exec/shop/web/main?command=a&output=1",
			refuse(400, metav1.StatusReasonBadRequest, `container "main" in pod "web" is waiting to start: ContainerCreating in `+remoteNamespace), 400,
			`container "main" in pod "web" is waiting to start: ContainerCreating in shop`},
		"Forbidden": {"akd lacks a right, not the user", "/exec/shop/web/main?command=a&output=1",
			refuse(403, metav1.StatusReasonForbidden, denied), 403,
			`node "vk" may not do this in the remote cluster: pods "web" is forbidden: akd cannot create resource "pods/exec" in API group "" in the namespace "shop"; the remote cluster's administrator can grant it`},
		"Unauthorized": {"401 would send kubectl's user to log in", "/exec/shop/web/main?command=a&output=1",
			refuse(401, metav1.StatusReasonUnauthorized, "Unauthorized"), 502,
			"the remote cluster does not accept the credentials of node \"vk\": give akd a remote kubeconfig with valid ones"},
		"KubeletDown": {"no address of the remote comes through", "/exec/shop/web/main?command=a&output=1",
			refuse(500, metav1.StatusReasonInternalError, leak), 502,
			`the remote cluster could not open a stream to pod "web": Get the remote kubelet: dial tcp: connect: connection refused`},
		"Page": {"a proxy's HTML helps nobody", "/exec/shop/web/main?command=a&output=1",
			func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(503)
				fmt.Fprint(w, "<html>gateway</html>")
			}, 502,
			`the remote cluster could not open a stream to pod "web": Service Unavailable`},
		"Redirect": {"a redirect could carry the token away", "/exec/shop/web/main?command=a&output=1",
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://192.0.2.1/", http.StatusFound)
			}, 502,
			`the remote cluster answered with a redirect (302), which node "vk" does not follow: check the remote server's address`},
	}
	b := newBed(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b.remote.mu.Lock()
			b.remote.fail = tc.fail
			b.remote.mu.Unlock()
			code, got := upgrade(t, b, tc.path)
			if code != tc.code || got.Code != int32(tc.code) || got.Message != tc.want {
				t.Errorf("%s:\n got %d %d %s\nwant %d %s", tc.reason, code, got.Code, got.Message, tc.code, tc.want)
			}
		})
	}
}

// upgrade asks for a stream that is refused, and reads the refusal.
func upgrade(t *testing.T, b *bed, path string) (int, metav1.Status) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, "https://"+b.addr+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+goodToken)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "SPDY/3.1")
	res, err := b.client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var status metav1.Status
	if err := json.NewDecoder(res.Body).Decode(&status); err != nil || status.Kind != "Status" {
		t.Fatalf("got %d %+v, error %v, want a Status", res.StatusCode, status, err)
	}
	return res.StatusCode, status
}

func TestLogErrorsAreText(t *testing.T) {
	b := newBed(t)
	b.remote.fail = refuse(400, metav1.StatusReasonBadRequest, `container "main" in pod "web" is waiting to start: ContainerCreating`)
	const path = "/containerLogs/shop/web/main"
	res, body := b.ask(t, http.MethodGet, path, goodToken)
	if want := `container "main" in pod "web" is waiting to start: ContainerCreating`; res.StatusCode != 400 || body != want {
		t.Errorf("got %d %q, want %q alone: kube-apiserver makes the body the message", res.StatusCode, body, want)
	}
	req, err := http.NewRequest(http.MethodGet, "https://"+b.addr+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+goodToken)
	req.Header.Set("Accept", "application/json")
	res, err = b.client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var status metav1.Status
	if err := json.NewDecoder(res.Body).Decode(&status); err != nil || status.Kind != "Status" || status.Code != 400 {
		t.Errorf("got %+v, error %v, want a Status for who accepts JSON", status, err)
	}
}

func TestRemoteUnreachable(t *testing.T) {
	b := newBed(t)
	b.remote.server.Close()
	code, status := upgrade(t, b, "/exec/shop/web/main?command=a&output=1")
	if code != http.StatusBadGateway {
		t.Errorf("got %d, want 502", code)
	}
	want := `node "vk" cannot reach the remote cluster that runs pod "web": retry in a few seconds; if it lasts, see the conditions of the node`
	if diff := cmp.Diff(want, status.Message); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	// kubectl logs showed the Status as raw JSON: the path that decides was the
	// remote's.
	res, body := b.ask(t, http.MethodGet, "/containerLogs/shop/web/main", goodToken)
	if res.StatusCode != http.StatusInternalServerError || body != want {
		t.Errorf("logs: got %d %q, want 500 %q", res.StatusCode, body, want)
	}
}

// A remote that vanished without a word leaves its idle connections open: a
// request for logs that took one of them was not answered for minutes, and a
// request for a followed log cannot tell that from a container that is silent.
func TestLogsDoNotTrustAnOldConnection(t *testing.T) {
	b := newBed(t)
	b.remote.logs = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a line\n") }
	seen := map[string]bool{}
	for range 2 {
		if res, body := b.ask(t, http.MethodGet, "/containerLogs/shop/web/main", goodToken); res.StatusCode != http.StatusOK || body != "a line\n" {
			t.Fatalf("got %d %q", res.StatusCode, body)
		}
		seen[b.remote.last().RemoteAddr] = true
	}
	if len(seen) != 2 {
		t.Errorf("two requests came over %d connections, want one each", len(seen))
	}
}

func TestStreamLimit(t *testing.T) {
	b := newBed(t, func(c *Config) { c.Limits.Streams = 1 })
	release := make(chan struct{})
	b.remote.logs = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-release
	}
	done := make(chan struct{})
	go func() { defer close(done); b.ask(t, http.MethodGet, "/containerLogs/shop/web/main", goodToken) }()
	eventually(t, "first stream is open", func() bool { return b.streams.taken() == 1 })
	res, body := b.ask(t, http.MethodGet, "/containerLogs/shop/web/main", goodToken)
	if want := `node "vk" carries 1 streams already, its limit: close some, then retry the log`; res.StatusCode != 429 || body != want {
		t.Errorf("got %d %q, want 429 %q", res.StatusCode, body, want)
	}
	close(release)
	<-done
}

func TestRun(t *testing.T) {
	b := newBed(t)
	b.remote.command = func(_ context.Context, _ io.Reader, out, _ io.WriteCloser, cmd []string, _ <-chan server.TerminalSize) error {
		fmt.Fprintf(out, "%q", cmd)
		if cmd[0] == "false" {
			return exitWith(1)
		}
		return nil
	}
	if res, body := b.ask(t, http.MethodPost, "/run/shop/web/main?cmd=echo+a", goodToken); res.StatusCode != 200 || body != `["echo" "a"]` {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
	if res, body := b.ask(t, http.MethodPost, "/run/shop/web/main?cmd=false", goodToken); res.StatusCode != 500 || !strings.Contains(body, "exit code 1") {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
}
