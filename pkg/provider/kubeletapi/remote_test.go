package kubeletapi

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/exec"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// remote plays the remote API server with the streaming servers of a kubelet.
type remote struct {
	server *httptest.Server

	mu       sync.Mutex
	requests []*http.Request
	// fail answers instead, when set.
	fail http.HandlerFunc
	// command is what exec and attach run.
	command func(ctx context.Context, in io.Reader, out, err io.WriteCloser, cmd []string, resize <-chan remotecommand.TerminalSize) error
	// port serves one forwarded connection.
	port  func(stream io.ReadWriteCloser, port int32) error
	logs  http.HandlerFunc
	open  int
	conns []net.Conn
}

// recorder remembers connections, so that upgraded ones can be cut too.
type recorder struct {
	net.Listener
	remote *remote
}

func (l recorder) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.remote.mu.Lock()
		l.remote.conns = append(l.remote.conns, conn)
		l.remote.mu.Unlock()
	}
	return conn, err
}

// cut breaks every connection, as a machine that goes.
func (r *remote) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		_ = conn.Close()
	}
}

func newRemote(t testing.TB) *remote {
	t.Helper()
	r := &remote{}
	r.server = httptest.NewUnstartedServer(r)
	r.server.Listener = recorder{r.server.Listener, r}
	r.server.EnableHTTP2 = true // as real API servers: upgrades must ask for HTTP/1.1
	r.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	r.server.StartTLS()
	t.Cleanup(func() { r.cut(); r.server.Close() })
	return r
}

func (r *remote) config() *rest.Config {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
	// A path prefix, as behind a proxy such as Rancher's.
	return &rest.Config{Host: r.server.URL + "/k8s", BearerToken: remoteToken, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}

func (r *remote) inFlight(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open += n
	return r.open
}

func (r *remote) last() *http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.requests) == 0 {
		return nil
	}
	return r.requests[len(r.requests)-1]
}

func (r *remote) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, req)
	fail := r.fail
	r.mu.Unlock()
	r.inFlight(1)
	defer r.inFlight(-1)
	w.Header().Set("Audit-Id", "remote-audit-id")
	if req.Header.Get("Authorization") != "Bearer "+remoteToken {
		http.Error(w, "no credentials", http.StatusUnauthorized)
		return
	}
	if fail != nil {
		fail(w, req)
		return
	}
	path, ok := strings.CutPrefix(req.URL.Path, "/k8s/api/v1/namespaces/"+remoteNamespace+"/pods/web/")
	if !ok {
		http.NotFound(w, req)
		return
	}
	query := req.URL.Query()
	options := &remotecommand.Options{
		Stdin: query.Get("stdin") == "true", Stdout: query.Get("stdout") == "true",
		Stderr: query.Get("stderr") == "true", TTY: query.Get("tty") == "true",
	}
	if wsstream.IsWebSocketRequestWithStreamCloseProtocol(req) {
		r.serveV5(w, req, query["command"])
		return
	}
	switch path {
	case "exec":
		remotecommand.ServeExec(w, req, r, "web", "", query.Get("container"), query["command"], options, 0, patience, remotecommandProtocols)
	case "attach":
		remotecommand.ServeAttach(w, req, r, "web", "", query.Get("container"), options, 0, patience, remotecommandProtocols)
	case "portforward":
		portforward.ServePortForward(w, req, r, "web", "", &portforward.V4Options{}, 0, patience, []string{portforward.ProtocolV1Name})
	case "log":
		r.logs(w, req)
	default:
		http.NotFound(w, req)
	}
}

// serveV5 speaks version 5 of the WebSocket protocol, in which stdin can be
// half-closed, as API servers do.
func (r *remote) serveV5(w http.ResponseWriter, req *http.Request, cmd []string) {
	conn := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{"v5.channel.k8s.io": {
		Binary: true,
		Channels: []wsstream.ChannelType{
			wsstream.ReadChannel,  // stdin
			wsstream.WriteChannel, // stdout
			wsstream.WriteChannel, // stderr
			wsstream.WriteChannel, // the exit status
			wsstream.ReadChannel,  // the size of the terminal
		},
	}})
	_, streams, err := conn.Open(w, req)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	if err := r.command(req.Context(), streams[0], streams[1], streams[2], cmd, nil); err == nil {
		_, _ = io.WriteString(streams[3], `{"metadata":{},"status":"Success"}`)
	}
}

var remotecommandProtocols = []string{"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"}

func (r *remote) ExecInContainer(
	ctx context.Context, _, _, _ string, cmd []string, in io.Reader, out, err io.WriteCloser,
	_ bool, resize <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	return r.command(ctx, in, out, err, cmd, resize)
}

func (r *remote) AttachContainer(
	ctx context.Context, _, _, _ string, in io.Reader, out, err io.WriteCloser,
	_ bool, resize <-chan remotecommand.TerminalSize,
) error {
	return r.command(ctx, in, out, err, nil, resize)
}

func (r *remote) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	return r.port(stream, port)
}

func exitWith(code int) error {
	return exec.CodeExitError{Err: io.EOF, Code: code}
}

// refuse answers every request with a Status, as an API server does.
func refuse(code int, reason metav1.StatusReason, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
			Status:   metav1.StatusFailure,
			Code:     int32(code),
			Reason:   reason,
			Message:  message,
			Details:  &metav1.StatusDetails{Name: "web", Kind: "pods"},
		})
	}
}
