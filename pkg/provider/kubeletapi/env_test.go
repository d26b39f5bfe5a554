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
		Mode:     CertificateFiles,
		NodeName: nodeName,
		CertFile: b.files[0],
		KeyFile:  b.files[1],
		Logger:   log,
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
		NodeName:     nodeName,
		Listener:     listener,
		Pods:         testPods(),
		Remote:       b.remote.config(),
		Auth:         auth,
		Certificates: certificates,
		Logger:       log,
		Limits:       Limits{ShutdownTime: time.Millisecond},
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
	certPEM, keyPEM := b.clients.sign(t, leaf{
		name:   "kube-apiserver-kubelet-client",
		groups: []string{"admins"},
		usage:  x509.ExtKeyUsageClientAuth,
	})
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
