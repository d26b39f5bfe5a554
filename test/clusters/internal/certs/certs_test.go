package certs

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
)

func TestIssue(t *testing.T) {
	authority, err := NewAuthority("test-ca", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority.Cert)

	type want struct {
		User   string
		Groups []string
		DNS    []string
		IPs    int
		Server bool
	}
	cases := map[string]struct {
		reason string
		leaf   Leaf
		want   want
	}{
		"Client": {
			reason: "without hosts a certificate must not serve",
			leaf:   Leaf{User: "system:node:a", Groups: []string{"system:nodes"}},
			want:   want{User: "system:node:a", Groups: []string{"system:nodes"}},
		},
		"Server": {
			reason: "names and addresses go to different fields",
			leaf:   Leaf{User: "api", Hosts: []string{"kubernetes", "127.0.0.1", "::1"}},
			want:   want{User: "api", DNS: []string{"kubernetes"}, IPs: 2, Server: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pair, err := authority.Issue(tc.leaf)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tls.X509KeyPair(pair.Cert, pair.Key); err != nil {
				t.Fatalf("key does not fit certificate: %v", err)
			}
			cert, err := parseCert(pair.Cert)
			if err != nil {
				t.Fatal(err)
			}
			_, serverErr := cert.Verify(x509.VerifyOptions{Roots: pool})
			got := want{
				cert.Subject.CommonName,
				cert.Subject.Organization,
				cert.DNSNames,
				len(cert.IPAddresses),
				serverErr == nil,
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
			client := x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
			if _, err := cert.Verify(client); err != nil {
				t.Errorf("verify as client: %v", err)
			}
		})
	}
}

func TestWriteKubeconfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	err := WriteKubeconfig(path,
		Access{Context: "local", Server: "https://127.0.0.1:1", CA: []byte("ca"), Client: Pair{[]byte("c"), []byte("k")}},
		Access{Context: "remote", Server: "https://127.0.0.1:2", CA: []byte("ca"), Client: Pair{[]byte("c"), []byte("k")}})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(os.FileMode(0o600), info.Mode()); diff != "" {
		t.Errorf("mode: -want +got:\n%s", diff)
	}
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{config.CurrentContext, config.Clusters["local"].Server, config.Clusters["remote"].Server}
	if diff := cmp.Diff([]string{"local", "https://127.0.0.1:1", "https://127.0.0.1:2"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
