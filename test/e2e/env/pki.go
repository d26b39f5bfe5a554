//go:build e2e

package env

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Forger is a caller with a self-signed certificate for the name and the group
// with the most rights.
func (e *Env) Forger(t testing.TB) Caller {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "kube-apiserver-kubelet-client", Organization: []string{"system:masters"}},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return Caller{env: e, certificate: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// PendingRequest waits until akd of ExampleNode requests a serving certificate,
// and returns the name of the CertificateSigningRequest.
func (e *Env) PendingRequest(t testing.TB) (name string) {
	t.Helper()
	Eventually(t, "akd requests a serving certificate", func(ctx context.Context) error {
		list, err := e.Local.CertificatesV1().CertificateSigningRequests().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			request := &list.Items[i]
			if request.Spec.Username == "system:node:"+ExampleNode && len(request.Status.Conditions) == 0 {
				name = request.Name
				return nil
			}
		}
		return fmt.Errorf("none among %d requests", len(list.Items))
	})
	return name
}

// RotateServingCertificate gives the API server of one side another key, and a
// certificate for it that has the same names and the same authority as the last.
func (e *Env) RotateServingCertificate(t testing.TB, side string) {
	t.Helper()
	pair := func(name string) tls.Certificate {
		file := filepath.Join(e.Dir, side, "pki", name)
		read, err := tls.LoadX509KeyPair(file+".crt", file+".key")
		if err != nil {
			t.Fatal(err)
		}
		return read
	}
	authority, last := pair("ca"), pair("apiserver")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	next := *last.Leaf
	next.SerialNumber = new(big.Int).Add(next.SerialNumber, big.NewInt(1))
	der, err := x509.CreateCertificate(rand.Reader, &next, authority.Leaf, key.Public(), authority.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writePair(t, filepath.Join(e.Dir, side, "pki", "apiserver"), der, key)
}

// writePair writes a certificate and its key to files with the endings .crt and .key.
func writePair(t testing.TB, file string, certificate []byte, key *ecdsa.PrivateKey) {
	t.Helper()
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for ending, block := range map[string]*pem.Block{
		".crt": {Type: "CERTIFICATE", Bytes: certificate},
		".key": {Type: "EC PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file+ending, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
