package kubeletapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
)

const (
	// lingerTime is how long one direction of a stream may outlive the other: long
	// enough for the last bytes and the closing handshakes, short enough that a silent
	// peer does not keep a stream open.
	lingerTime = 10 * time.Second
	dialTime   = 10 * time.Second
	// maxErrorBody limits what is read of a remote error response.
	maxErrorBody = 64 << 10
)

// remotes connects to the remote API server with the credentials of akd.
type remotes struct {
	base      *url.URL
	config    *rest.Config
	transport http.RoundTripper
}

func newRemotes(config *rest.Config) (*remotes, error) {
	config = rest.CopyConfig(config)
	config.Timeout = 0
	config.DisableCompression = true
	// HTTP/2 has no upgrades, and with HTTP/1.1 each stream has its own connection: a
	// client that stalls does not affect others.
	config.NextProtos = []string{"http/1.1"}
	if config.Dial == nil {
		config.Dial = (&net.Dialer{Timeout: dialTime, KeepAlive: 15 * time.Second}).DialContext
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("parse address of the remote API server: %w", err)
	}
	if base.Path == "" {
		base.Path = "/" // JoinPath would make a relative path
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("make transport to the remote API server: %w", err)
	}
	return &remotes{base: base, config: config, transport: transport}, nil
}

func (m *remotes) url(s stream) *url.URL {
	u := m.base.JoinPath("api", "v1", "namespaces", s.remoteNamespace, "pods", s.remoteName, s.subresource)
	u.RawQuery = s.query.Encode()
	return u
}

// find returns the remote pod of a request.
func (s *Server) find(t target) (stream, error) {
	local, ok := s.cfg.Pods.Pod(t.namespace, t.pod)
	if !ok || (t.uid != "" && string(local.UID) != t.uid) {
		return stream{}, podNotFound(t)
	}
	namespace, name, ok := s.cfg.Pods.Remote(local)
	if !ok {
		return stream{}, noRemotePod(t, local)
	}
	return stream{target: t, remoteNamespace: namespace, remoteName: name}, nil
}

// streamHandler forwards requests to a subresource of remote pods.
func (s *Server) streamHandler(subresource string, translate translation, upgrade bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if upgrade && !httpstream.IsUpgradeRequest(r) {
			writeError(w, r, apierrors.NewBadRequest("upgrade request required: use SPDY/3.1 or a WebSocket"))
			return
		}
		str, err := s.find(targetOf(r))
		if err != nil {
			writeError(w, r, err)
			return
		}
		str.subresource, str.upgrade = subresource, upgrade
		if str.query, err = translate(r.URL.Query(), str.container); err != nil {
			writeError(w, r, err)
			return
		}
		release, err := s.acquire(r, str.target, subresource)
		if err != nil {
			writeError(w, r, err)
			return
		}
		defer release()
		s.forward(w, r, str)
	}
}

// forward uses httputil.ReverseProxy instead of the UpgradeAwareHandler of
// apimachinery, which copies the error response of a refused upgrade to the caller,
// including remote names, and ignores HTTP proxies.
func (s *Server) forward(w http.ResponseWriter, r *http.Request, str stream) {
	proxy := &httputil.ReverseProxy{
		Transport:     s.remotes.transport,
		FlushInterval: -1, // each line of a followed log at once
		BufferPool:    &s.buffers,
		ErrorLog:      slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL = s.remotes.url(str)
			pr.Out.Host = ""
			if str.upgrade {
				pr.Out.Header = allowed(pr.Out.Header, requestHeaders[:])
				takeProtocolToken(pr.Out.Header)
				return
			}
			// A log is read, with the right to read: nothing of the caller's goes along.
			pr.Out.Header, pr.Out.Body, pr.Out.ContentLength = http.Header{}, nil, 0
			// Each log has its own connection, too. An idle one may be dead, which
			// takes minutes to detect, and a followed log may be silent for hours.
			pr.Out.Close = true
		},
		ModifyResponse: func(res *http.Response) error {
			return s.receive(r, res, str)
		},
		// The proxy passes its own request, but the form of the response depends on
		// that of the caller.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			s.streamFailed(w, r, str, err)
		},
	}
	proxy.ServeHTTP(&lingeringWriter{ResponseWriter: w}, r)
}

// receive turns remote errors into local ones, and leaves other responses unchanged.
func (s *Server) receive(r *http.Request, res *http.Response, str stream) error {
	res.Header = allowed(res.Header, responseHeaders[:])
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols && str.upgrade:
		if conn, ok := res.Body.(io.ReadWriteCloser); ok {
			if strings.EqualFold(res.Header.Get("Upgrade"), "SPDY/3.1") {
				conn = newPingHolder(conn, pingQuiet)
			}
			res.Body = &lingeringBody{ReadWriteCloser: conn}
		}
		return nil
	case res.StatusCode >= 200 && res.StatusCode < 300 && !str.upgrade:
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	_ = res.Body.Close()
	if err != nil {
		return fmt.Errorf("read error response of the remote API server: %w", err)
	}
	local := remoteError(s.cfg.NodeName, str, decodeStatus(res.StatusCode, body))
	s.log.Debug("remote refused a stream", "namespace", str.namespace, "pod", str.pod,
		"subresource", str.subresource, "code", res.StatusCode, "message", string(body))
	replaceBody(r, res, statusOf(local))
	return nil
}

func decodeStatus(code int, body []byte) metav1.Status {
	var status metav1.Status
	if err := json.Unmarshal(body, &status); err != nil || status.Kind != "Status" {
		status = metav1.Status{}
		// The HTML page of a proxy in front of the API server is of no use.
		if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
			status.Message = string(body)
		}
	}
	status.Code = int32(code) //nolint:gosec // an HTTP status code
	return status
}

func replaceBody(r *http.Request, res *http.Response, status metav1.Status) {
	status = forLogs(r, status)
	body, contentType := encodeStatus(r, status)
	res.StatusCode = int(status.Code)
	res.Status = strconv.Itoa(res.StatusCode) + " " + http.StatusText(res.StatusCode)
	res.Body = io.NopCloser(bytes.NewReader(body))
	res.ContentLength = int64(len(body))
	res.TransferEncoding = nil
	res.Header = http.Header{
		"Content-Type":           {contentType},
		"Content-Length":         {strconv.Itoa(len(body))},
		"X-Content-Type-Options": {"nosniff"},
	}
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		res.Header.Set("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
}

func (s *Server) streamFailed(w http.ResponseWriter, r *http.Request, str stream, err error) {
	// This includes callers that have gone, and the shutdown of akd.
	s.log.Debug("stream to the remote cluster failed", "namespace", str.namespace, "pod", str.pod,
		"subresource", str.subresource, "error", err)
	writeError(w, r, unreachable(s.cfg.NodeName, str.target))
}

// The headers that are passed on. All others are dropped: in requests, credentials,
// impersonation, cookies and forwarding headers of the caller; in responses, IDs of
// auditing and flow control of the remote.
//
// Sec-Websocket-Protocol may contain a token: see takeProtocolToken.
var (
	requestHeaders = [...]string{ //nolint:gochecknoglobals // never written
		"Connection", "Upgrade", "Content-Type", "Content-Length",
		httpstream.HeaderProtocolVersion,
		"Sec-Websocket-Version", "Sec-Websocket-Key", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions",
	}
	responseHeaders = [...]string{ //nolint:gochecknoglobals // never written
		"Connection", "Upgrade", "Content-Type", "Content-Length", "Date", "X-Content-Type-Options",
		httpstream.HeaderProtocolVersion, httpstream.HeaderAcceptedProtocolVersions,
		"Sec-Websocket-Accept", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions",
	}
)

func allowed(header http.Header, names []string) http.Header {
	out := make(http.Header, len(names))
	for _, name := range names {
		if values := header.Values(name); len(values) > 0 {
			out[http.CanonicalHeaderKey(name)] = values
		}
	}
	return out
}

// lingeringWriter gives ReverseProxy connections that end soon after one of their
// directions ends.
type lingeringWriter struct {
	http.ResponseWriter
}

func (w *lingeringWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *lingeringWriter) Hijack() (c net.Conn, rw *bufio.ReadWriter, err error) {
	c, rw, err = http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return c, rw, err
	}
	return &lingeringConn{Conn: c}, rw, nil
}

// lingeringConn is the connection of the caller. CloseWrite is called when the remote
// has sent everything. It gives the caller time to close the connection: closing it
// with unread bytes would reset it, and could lose the end of the output.
type lingeringConn struct {
	net.Conn
}

func (c *lingeringConn) CloseWrite() error {
	if err := c.SetReadDeadline(time.Now().Add(lingerTime)); err != nil {
		return err
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}

// lingeringBody is the connection to the remote. CloseWrite is called when the caller
// has sent everything.
type lingeringBody struct {
	io.ReadWriteCloser
	deaf   atomic.Bool // a write has failed
	mu     sync.Mutex
	closer *time.Timer
	closed bool
}

// Write does not fail: ReverseProxy would close the other direction as well, and
// drop what the remote had sent before it stopped reading. That direction ends by
// itself if the connection is broken.
func (b *lingeringBody) Write(p []byte) (int, error) {
	if !b.deaf.Load() {
		if _, err := b.ReadWriteCloser.Write(p); err != nil {
			b.deaf.Store(true)
		}
	}
	return len(p), nil
}

func (b *lingeringBody) CloseWrite() error {
	half, ok := b.ReadWriteCloser.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return b.Close()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closer = time.AfterFunc(lingerTime, func() { _ = b.ReadWriteCloser.Close() })
	}
	return nil
}

func (b *lingeringBody) Close() error {
	b.mu.Lock()
	b.closed = true
	if b.closer != nil {
		b.closer.Stop()
	}
	b.mu.Unlock()
	return b.ReadWriteCloser.Close()
}

// buffers provides the copy buffers of ReverseProxy.
type buffers struct {
	pool sync.Pool
}

func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }
