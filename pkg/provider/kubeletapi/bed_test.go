package kubeletapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	kubetesting "k8s.io/client-go/testing"
	"k8s.io/client-go/util/exec"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// patience is how long a condition may take on a loaded machine.
const patience = 30 * time.Second

const (
	nodeName        = "vk"
	localNamespace  = "shop"
	remoteNamespace = "vk-a1b2c3"
	remoteToken     = "token-of-the-remote"
	goodToken       = "token-with-rights"
	weakToken       = "token-without-rights"
)

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(context.Background(), 5*time.Millisecond, patience, true,
		func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		t.Fatalf("waited in vain: %s", what)
	}
}

// authority signs test certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

type leaf struct {
	name   string
	groups []string
	serial int64
	usage  x509.ExtKeyUsage
	ends   time.Time
}

func (a *authority) sign(t testing.TB, l leaf) (certPEM, keyPEM []byte) {
	t.Helper()
	key := newKey(t)
	if l.ends.IsZero() {
		l.ends = time.Now().Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(l.serial + 2), Subject: pkix.Name{CommonName: l.name, Organization: l.groups},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: l.ends,
		ExtKeyUsage: []x509.ExtKeyUsage{l.usage}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

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
		Binary:   true,
		Channels: []wsstream.ChannelType{wsstream.ReadChannel, wsstream.WriteChannel, wsstream.WriteChannel, wsstream.WriteChannel, wsstream.ReadChannel},
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

func (r *remote) ExecInContainer(ctx context.Context, _, _, _ string, cmd []string, in io.Reader, out, err io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	return r.command(ctx, in, out, err, cmd, resize)
}

func (r *remote) AttachContainer(ctx context.Context, _, _, _ string, in io.Reader, out, err io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize) error {
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
			Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
			Details: &metav1.StatusDetails{Name: "web", Kind: "pods"},
		})
	}
}

// fixedPods are the pods of the node: web runs remotely, pending does not.
type fixedPods []*corev1.Pod

func testPods() fixedPods {
	pod := func(name, uid string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: localNamespace, Name: name, UID: types.UID(uid)},
			Spec:       corev1.PodSpec{NodeName: nodeName, Containers: []corev1.Container{{Name: "main"}}},
		}
	}
	web := pod("web", "uid-web")
	web.Status = corev1.PodStatus{
		StartTime: new(metav1.NewTime(time.Unix(1000, 0))),
		ContainerStatuses: []corev1.ContainerStatus{{
			Name:  "main",
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Unix(1010, 0))}},
		}},
	}
	return fixedPods{web, pod("pending", "uid-pending")}
}

func (p fixedPods) Pod(namespace, name string) (*corev1.Pod, bool) {
	for _, pod := range p {
		if pod.Namespace == namespace && pod.Name == name {
			return pod, true
		}
	}
	return nil, false
}

func (p fixedPods) List() []*corev1.Pod { return p }

func (p fixedPods) Remote(local *corev1.Pod) (namespace, name string, ok bool) {
	return remoteNamespace, local.Name, local.Name != "pending"
}

// reviewer plays the local API server: who a token is, and who may what.
func reviewer(allowed func(authorizationv1.SubjectAccessReviewSpec) bool) *fake.Clientset {
	client := fake.NewClientset()
	client.PrependReactor("create", "tokenreviews", func(action kubetesting.Action) (bool, kruntime.Object, error) {
		review := action.(kubetesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		switch review.Spec.Token {
		case goodToken:
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "good"}}
		case weakToken:
			review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "weak"}}
		}
		return true, review, nil
	})
	client.PrependReactor("create", "subjectaccessreviews", func(action kubetesting.Action) (bool, kruntime.Object, error) {
		review := action.(kubetesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		review.Status.Allowed = allowed(review.Spec)
		return true, review, nil
	})
	return client
}

func goodOnly(spec authorizationv1.SubjectAccessReviewSpec) bool {
	return (spec.User == "good" || slices.Contains(spec.Groups, "admins")) && slices.Contains(spec.Groups, "system:authenticated")
}

// bed is a running Server between a client and a remote.
type bed struct {
	*Server
	remote  *remote
	clients *authority
	serving *authority
	addr    string
	files   [2]string
	local   *fake.Clientset
	stop    func() // ends Run and waits for it
}

func newBed(t testing.TB, changes ...func(*Config)) *bed {
	t.Helper()
	b := &bed{remote: newRemote(t), clients: newAuthority(t), serving: newAuthority(t), local: reviewer(goodOnly)}
	dir := t.TempDir()
	b.files = [2]string{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	b.writeServing(t, 1)
	log := slog.New(slog.DiscardHandler)
	auth, err := NewAuth(AuthConfig{NodeName: nodeName, Reviews: b.local, ClientCAPEM: b.clients.pem(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := NewCertificates(CertificateConfig{
		Mode: CertificateFiles, NodeName: nodeName, CertFile: b.files[0], KeyFile: b.files[1], Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = listener.Addr().String()
	cfg := Config{
		NodeName: nodeName, Listener: listener, Pods: testPods(), Remote: b.remote.config(),
		Auth: auth, Certificates: certificates, Logger: log,
		Limits: Limits{ShutdownTime: time.Millisecond},
	}
	for _, change := range changes {
		change(&cfg)
	}
	if b.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(b.stop)
	b.ask(t, http.MethodGet, "/healthz", "") // it runs, and its goroutines are there to be counted
	return b
}

func (b *bed) writeServing(t testing.TB, serial int64) {
	t.Helper()
	certPEM, keyPEM := b.serving.sign(t, leaf{name: "server", serial: serial, usage: x509.ExtKeyUsageServerAuth})
	for i, data := range [][]byte{certPEM, keyPEM} {
		if err := os.WriteFile(b.files[i], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// config is that of a client with a certificate that may do all.
func (b *bed) config(t testing.TB) *rest.Config {
	t.Helper()
	certPEM, keyPEM := b.clients.sign(t, leaf{name: "kube-apiserver-kubelet-client", groups: []string{"admins"}, usage: x509.ExtKeyUsageClientAuth})
	return &rest.Config{
		Host:            "https://" + b.addr,
		TLSClientConfig: rest.TLSClientConfig{CAData: b.serving.pem(), CertData: certPEM, KeyData: keyPEM},
	}
}

// client is one with neither certificate nor token, unless they are given.
func (b *bed) client(t testing.TB, certs ...tls.Certificate) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(b.serving.cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// ask sends a request with a token, or none, and reads the whole answer.
func (b *bed) ask(t testing.TB, method, path, token string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, "https://"+b.addr+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := b.client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// settled waits until no more goroutines run than before, and no request is in
// the remote. It takes 5 s after WebSockets: so long their client's heartbeat
// sleeps before it sees that its connection has closed.
func (b *bed) settled(t *testing.T, before int) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		}
	})
	eventually(t, "goroutines of the streams end", func() bool {
		return b.remote.inFlight(0) == 0 && b.streams.taken() == 0 && runtime.NumGoroutine() <= before
	})
}
