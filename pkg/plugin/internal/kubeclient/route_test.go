package kubeclient_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// akd's image has no CAs, and its kubeconfig only what install puts in. An akd that
// can never connect was installed, and found out after three minutes.
func TestRoute(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler()) // whatever it answers, it has proved itself
	t.Cleanup(server.Close)
	// The certificate of httptest is for example.com and loopback addresses, which akd's
	// pod could not reach: the client connects there whatever the name.
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	other.StartTLS()
	t.Cleanup(other.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	elsewhere := strings.Replace(plain.URL, "http:", "https:", 1)
	proxy := func(address string) func(*http.Request) (*url.URL, error) {
		return func(*http.Request) (*url.URL, error) { return url.Parse(address) }
	}
	for name, tc := range map[string]struct {
		reason string
		config rest.Config
		given  string
		want   kubeclient.Route
		err    string
		hint   string
	}{
		"CA": {
			reason: "as the kubeconfig has it",
			config: rest.Config{Host: "https://example.com", TLSClientConfig: rest.TLSClientConfig{CAData: ca}},
			want:   kubeclient.Route{Server: "https://example.com", Authority: ca},
		},
		"CA file": {
			reason: "akd has no files",
			config: rest.Config{Host: "https://example.com", TLSClientConfig: rest.TLSClientConfig{CAFile: file}},
			want:   kubeclient.Route{Server: "https://example.com", Authority: ca},
		},
		"Server name": {
			reason: "is carried along",
			config: rest.Config{Host: "https://192.0.2.1", TLSClientConfig: rest.TLSClientConfig{CAData: ca, ServerName: "example.com"}},
			want:   kubeclient.Route{Server: "https://192.0.2.1", Authority: ca, ServerName: "example.com"},
		},
		"Proxy": {
			reason: "is carried along",
			config: rest.Config{
				Host: "https://example.com", TLSClientConfig: rest.TLSClientConfig{CAData: ca}, Proxy: proxy("http://192.0.2.2:3128"),
			},
			want: kubeclient.Route{Server: "https://example.com", Authority: ca, Proxy: "http://192.0.2.2:3128"},
		},
		"Proxy of the address in the kubeconfig": {
			reason: "another address is reached without",
			config: rest.Config{
				Host: "https://example.com", TLSClientConfig: rest.TLSClientConfig{CAData: ca}, Proxy: proxy("http://192.0.2.2:3128"),
			},
			given: "https://192.0.2.1",
			want:  kubeclient.Route{Server: "https://192.0.2.1", Authority: ca},
		},
		"Proxy of this machine": {
			reason: "akd's pod has none",
			config: rest.Config{
				Host: "https://example.com", TLSClientConfig: rest.TLSClientConfig{CAData: ca}, Proxy: proxy("socks5://localhost:1080"),
			},
			err:  "the remote kubeconfig's proxy-url socks5://localhost:1080 is a loopback address, which means akd's own pod",
			hint: "give the address at which pods reach the API server without that proxy with --remote-server",
		},
		"Insecure by flag": {
			reason: "akd would hand its token to anybody",
			config: rest.Config{Host: "https://example.com", TLSClientConfig: rest.TLSClientConfig{Insecure: true}},
			err:    "the remote cluster's API server https://example.com is not verified: akd would hand its token to anybody who answers there",
			hint:   "give --certificate-authority=FILE instead of --insecure-skip-tls-verify",
		},
		"No TLS": {
			reason: "likewise",
			config: rest.Config{Host: "http://example.com"},
			err:    "the remote cluster's API server http://example.com is reached without TLS, which would show akd's token to anybody",
			hint:   "name a context whose server is https://HOST:PORT",
		},
		"Another address": {
			reason: "its certificate is for others",
			config: rest.Config{Host: "https://example.com", TLSClientConfig: rest.TLSClientConfig{CAData: ca, ServerName: "elsewhere.test"}},
			given:  other.URL,
			err:    "akd could not verify the remote API server at " + other.URL,
			hint: "give an address that its certificate has with --remote-server, " +
				"or the right CA and tls-server-name in the kubeconfig",
		},
		"Another machine at that address": {
			reason: "the API server could prove itself where akd is: its certificate has the address",
			config: rest.Config{Host: "https://example.com", TLSClientConfig: rest.TLSClientConfig{CAData: ca}},
			given:  elsewhere,
			want:   kubeclient.Route{Server: elsewhere, Authority: ca},
		},
		"No CA of this machine": {
			reason: "nobody vouches for it",
			config: rest.Config{Host: "https://example.com"},
			err:    "certificate signed by unknown authority",
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := tc.config
			config.Dial = dial
			cluster := &kubeclient.Cluster{Side: kubeclient.Remote, Config: &config, Client: clientOf(t, &config)}
			got, err := cluster.Route(t.Context(), tc.given)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Join(failure.Hints(err), "; ") != tc.hint {
					t.Fatalf("%s: error %v, hints %q", tc.reason, err, failure.Hints(err))
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if got.Server != tc.want.Server || got.ServerName != tc.want.ServerName || got.Proxy != tc.want.Proxy ||
				!bytes.Equal(got.Authority, tc.want.Authority) {
				t.Errorf("%s: got %+v, want %+v", tc.reason, got, tc.want)
			}
		})
	}
}

func clientOf(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// A kubeconfig without a CA means those of the machine. akd gets the ones that vouch
// for the server. The machine's CAs are read once for all tests: this one has a
// process of its own.
func TestRouteOfSystemCA(t *testing.T) {
	const again = "ACTUAL_TEST_SERVER"
	if address := os.Getenv(again); address != "" {
		config := &rest.Config{Host: address, TLSClientConfig: rest.TLSClientConfig{ServerName: "example.com"}}
		cluster := &kubeclient.Cluster{Side: kubeclient.Remote, Config: config, Client: clientOf(t, config)}
		route, err := cluster.Route(t.Context(), "https://192.0.2.1")
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(os.Getenv("SSL_CERT_FILE"))
		if err != nil || !bytes.Equal(want, route.Authority) {
			t.Fatalf("akd gets %s, want %s (%v)", route.Authority, want, err)
		}
		return
	}
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), program, "-test.run=^TestRouteOfSystemCA$")
	run.Env = append(os.Environ(), again+"="+server.URL, "SSL_CERT_FILE="+file, "SSL_CERT_DIR=/nonexistent")
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
