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
	"fmt"
	"math/big"
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
