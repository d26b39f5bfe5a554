package kubeletapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
)

// patience is how long a condition may take on a loaded machine.
const patience = 30 * time.Second

const (
	nodeName        = "vk"
	localNamespace  = "shop"
	remoteNamespace = "vk-a1b2c3"
	remoteToken     = "token-of-the-remote"
	goodToken       = "token-with-rights"
	otherToken      = "another-token-with-rights"
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

// env is a running Server between clients and a remote API server.
type env struct {
	*Server
	remote  *remote
	clients *authority
	serving *authority
	addr    string
	files   [2]string
	local   *fake.Clientset
	stop    func() // ends Run and waits for it
}

func newEnv(t testing.TB, changes ...func(*Config)) *env {
	t.Helper()
	e := &env{remote: newRemote(t), clients: newAuthority(t), serving: newAuthority(t), local: reviewer(goodOnly)}
	dir := t.TempDir()
	e.files = [2]string{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	e.writeServing(t, 1)
	log := slog.New(slog.DiscardHandler)
	auth, err := NewAuth(AuthConfig{NodeName: nodeName, Reviews: e.local, ClientCAPEM: e.clients.pem(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := NewCertificates(CertificateConfig{
		Mode:     CertificateFiles,
		NodeName: nodeName,
		CertFile: e.files[0],
		KeyFile:  e.files[1],
		Logger:   log,
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.addr = listener.Addr().String()
	cfg := Config{
		NodeName:     nodeName,
		Listener:     listener,
		Pods:         testPods(),
		Remote:       e.remote.config(),
		Auth:         auth,
		Certificates: certificates,
		Logger:       log,
		Limits:       Limits{ShutdownTime: time.Millisecond},
	}
	for _, change := range changes {
		change(&cfg)
	}
	if e.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	e.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(e.stop)
	e.ask(t, http.MethodGet, "/healthz", "") // it runs, and its goroutines are there to be counted
	return e
}

func (e *env) writeServing(t testing.TB, serial int64) {
	t.Helper()
	certPEM, keyPEM := e.serving.sign(t, leaf{name: "server", serial: serial, usage: x509.ExtKeyUsageServerAuth})
	for i, data := range [][]byte{certPEM, keyPEM} {
		if err := os.WriteFile(e.files[i], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// config is that of a client with a certificate that may do all.
func (e *env) config(t testing.TB) *rest.Config {
	t.Helper()
	certPEM, keyPEM := e.clients.sign(t, leaf{
		name:   "kube-apiserver-kubelet-client",
		groups: []string{"admins"},
		usage:  x509.ExtKeyUsageClientAuth,
	})
	return &rest.Config{
		Host:            "https://" + e.addr,
		TLSClientConfig: rest.TLSClientConfig{CAData: e.serving.pem(), CertData: certPEM, KeyData: keyPEM},
	}
}

// client is one with neither certificate nor token, unless they are given.
func (e *env) client(t testing.TB, certs ...tls.Certificate) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(e.serving.cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// ask sends a request with a token, or none, and reads the whole answer.
func (e *env) ask(t testing.TB, method, path, token string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, "https://"+e.addr+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := e.client(t).Do(req)
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
func (e *env) settled(t *testing.T, before int) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		}
	})
	eventually(t, "goroutines of the streams end", func() bool {
		return e.remote.inFlight(0) == 0 && e.streams.open() == 0 && runtime.NumGoroutine() <= before
	})
}
