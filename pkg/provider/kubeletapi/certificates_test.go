package kubeletapi

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"
)

func nodeAddresses() []corev1.NodeAddress {
	return []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: "127.0.0.1"},
		{Type: corev1.NodeInternalIP, Address: "::1"},
		{Type: corev1.NodeHostName, Address: nodeName},
	}
}

// signer plays the local cluster's: it signs what was approved.
func signer(t *testing.T, a *authority, approved func() bool) *fake.Clientset {
	t.Helper()
	client := fake.NewClientset()
	client.PrependReactor("create", "certificatesigningrequests", func(action kubetesting.Action) (bool, kruntime.Object, error) {
		request := action.(kubetesting.CreateAction).GetObject().(*certificatesv1.CertificateSigningRequest)
		request.Name = "csr-test"
		request.UID = "uid-csr"
		if approved() {
			request.Status = certificatesv1.CertificateSigningRequestStatus{
				Conditions: []certificatesv1.CertificateSigningRequestCondition{
					{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue},
				},
				Certificate: signRequest(t, a, request.Spec.Request),
			}
		}
		return false, nil, nil // the tracker stores it
	})
	return client
}

func signRequest(t *testing.T, a *authority, requestPEM []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(requestPEM)
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Error(err)
		return nil
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(77),
		Subject:      request.Subject,
		DNSNames:     request.DNSNames,
		IPAddresses:  request.IPAddresses,
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, request.PublicKey, a.key)
	if err != nil {
		t.Error(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestSelfSignedUntilApproved(t *testing.T) {
	for name, dir := range map[string]string{"Memory": "", "Directory": filepath.Join(t.TempDir(), "pki")} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t)
			client := signer(t, a, func() bool { return false })
			certificates, err := NewCertificates(CertificateConfig{
				Mode:      CertificateCSR,
				NodeName:  nodeName,
				Addresses: nodeAddresses,
				Client:    client,
				Signer:    "example.com/serving",
				Dir:       dir,
				Logger:    slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); certificates.Run(ctx) }()
			defer func() { cancel(); <-done }()

			var request *certificatesv1.CertificateSigningRequest
			eventually(t, "a request is made", func() bool {
				list, err := client.CertificatesV1().CertificateSigningRequests().List(ctx, metav1.ListOptions{})
				if err != nil || len(list.Items) == 0 {
					return false
				}
				request = &list.Items[0]
				return true
			})
			checkRequest(t, request)
			if state := certificates.State(); !state.SelfSigned || !strings.Contains(state.Message, "kubectl certificate approve") ||
				state.NotAfter.IsZero() {
				t.Errorf("before approval: %+v", state)
			}

			request.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{
				{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue},
			}
			request.Status.Certificate = signRequest(t, a, request.Spec.Request)
			if _, err := client.CertificatesV1().CertificateSigningRequests().UpdateStatus(ctx, request, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the signed certificate is served", func() bool { return !certificates.State().SelfSigned })
			if state := certificates.State(); state.Message != "" {
				t.Errorf("after approval: %+v", state)
			}
			served, err := certificates.get(nil)
			if err != nil || served.Leaf.SerialNumber.Int64() != 77 {
				t.Errorf("served %v, error %v", served, err)
			}
			checkModes(t, dir)
		})
	}
}

// client-go's manager called it an error, twice, that it was told to stop.
func TestCleanStopIsNoError(t *testing.T) {
	before := runtime.NumGoroutine()
	log := &lockedBuffer{}
	certificates, err := NewCertificates(CertificateConfig{
		Mode:      CertificateCSR,
		NodeName:  nodeName,
		Addresses: nodeAddresses,
		Client:    signer(t, newAuthority(t), func() bool { return false }),
		Signer:    certificatesv1.KubeletServingSignerName,
		Logger:    slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); certificates.Run(ctx) }()
	eventually(t, "a request is made", func() bool {
		list, err := certificates.cfg.Client.CertificatesV1().CertificateSigningRequests().List(t.Context(), metav1.ListOptions{})
		return err == nil && len(list.Items) > 0
	})
	cancel()
	<-done
	eventually(t, "the manager's goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	if said := log.String(); strings.Contains(said, "level=ERROR") {
		t.Errorf("a clean stop is logged as an error:\n%s", said)
	}
}

type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func checkRequest(t *testing.T, request *certificatesv1.CertificateSigningRequest) {
	t.Helper()
	if request.Spec.SignerName != "example.com/serving" {
		t.Errorf("signer %s", request.Spec.SignerName)
	}
	block, _ := pem.Decode(request.Spec.Request)
	got, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if got.Subject.CommonName != "system:node:vk" || !cmp.Equal(got.Subject.Organization, []string{"system:nodes"}) {
		t.Errorf("subject %s", got.Subject)
	}
	if diff := cmp.Diff([]string{nodeName}, got.DNSNames); diff != "" {
		t.Errorf("DNS names (-want +got):\n%s", diff)
	}
	if len(got.IPAddresses) != 2 || !got.IPAddresses[0].Equal(net.IPv4(127, 0, 0, 1)) || !got.IPAddresses[1].Equal(net.IPv6loopback) {
		t.Errorf("IP addresses %v", got.IPAddresses)
	}
}

func checkModes(t *testing.T, dir string) {
	t.Helper()
	if dir == "" {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			t.Error(err)
			return nil
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
}

func TestSelfSignedFollowsTheAddresses(t *testing.T) {
	addresses := nodeAddresses()
	certificates, err := NewCertificates(CertificateConfig{
		Mode: CertificateSelfSigned, NodeName: nodeName, Logger: slog.New(slog.DiscardHandler),
		Addresses: func() []corev1.NodeAddress { return addresses },
	})
	if err != nil {
		t.Fatal(err)
	}
	first, err := certificates.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Leaf.VerifyHostname("127.0.0.1"); err != nil {
		t.Error(err)
	}
	if again, _ := certificates.get(nil); again != first {
		t.Error("made anew without a reason")
	}
	addresses = append(addresses, corev1.NodeAddress{Type: corev1.NodeInternalDNS, Address: "vk.example"})
	second, err := certificates.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Leaf.VerifyHostname("vk.example"); err != nil {
		t.Error(err)
	}
}

func servedSerial(t *testing.T, e *env) int64 {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(e.serving.cert)
	conn, err := tls.Dial("tcp", e.addr, &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestCertificateFilesAreReadAgain(t *testing.T) {
	e := newEnv(t)
	first := servedSerial(t, e)
	if err := os.WriteFile(e.files[1], []byte("half a renewal"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := servedSerial(t, e); got != first {
		t.Errorf("a broken pair was served: %d", got)
	}
	if state := e.cfg.Certificates.State(); state.Message == "" || state.NotAfter.IsZero() {
		t.Errorf("a broken pair is not reported: %+v", state)
	}
	e.writeServing(t, 99)
	eventually(t, "the new pair is served", func() bool { return servedSerial(t, e) != first })
	if state := e.cfg.Certificates.State(); state.Message != "" {
		t.Errorf("still reported: %+v", state)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	e := newEnv(t)
	pool := x509.NewCertPool()
	pool.AddCert(e.serving.cert)
	cases := map[string]*tls.Config{
		"TLS1.1":  {RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"CBC":     {RootCAs: pool, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
		"NoECDHE": {RootCAs: pool, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}},
	}
	for name, config := range cases {
		t.Run(name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", e.addr, config)
			if err == nil {
				_ = conn.Close()
				t.Error("the handshake succeeded")
			}
		})
	}
}
