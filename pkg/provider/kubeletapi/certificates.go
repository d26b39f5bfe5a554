package kubeletapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/certificate"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// CertificateMode is the source of the serving certificate.
type CertificateMode string

const (
	// CertificateCSR requests a certificate from a signer of the local cluster, and uses
	// a self-signed one until the request is approved.
	CertificateCSR CertificateMode = "csr"
	// CertificateSelfSigned generates a self-signed certificate.
	CertificateSelfSigned CertificateMode = "selfSigned"
	// CertificateFiles reads a certificate from files, again if they change.
	CertificateFiles CertificateMode = "files"
)

// CertificateConfig configures Certificates.
type CertificateConfig struct {
	Mode     CertificateMode
	NodeName string
	// Addresses returns those of the node, which become the names of the certificate.
	// If they change, a new certificate is requested. Without any, none is.
	Addresses func() []corev1.NodeAddress
	// Client creates and watches CertificateSigningRequests as the user
	// system:node:<node>: the signer accepts no other. For mode csr.
	Client kubernetes.Interface
	// Signer is whom the certificate is requested from. For mode csr.
	Signer string
	// Dir stores the signed certificate and its key (mode 0600) across restarts. If it
	// is empty, both are in memory only, and each start makes a new request.
	Dir string
	// CertFile and KeyFile are in PEM format. For mode files.
	CertFile, KeyFile string
	// A nil Clock is the real one.
	Clock  clock.PassiveClock
	Logger *slog.Logger
}

// CertificateState is the state of the serving certificate, for a node condition or a
// report.
type CertificateState struct {
	Mode CertificateMode
	// SelfSigned means that clients which verify certificates reject it, such as
	// metrics-server without --kubelet-insecure-tls.
	SelfSigned bool
	// NotAfter is zero if there is no certificate.
	NotAfter time.Time
	// Message says what is wrong and what to do, or is empty.
	Message string
}

// Certificates provide the serving certificate, and renew it without a restart.
type Certificates struct {
	cfg   CertificateConfig
	store certificate.Store // mode csr only

	mu         sync.Mutex
	manager    certificate.Manager // mode csr only
	selfSigned *tls.Certificate
	selfNames  names
	files      fileState
}

// NewCertificates checks the configuration. It requests nothing until Run.
func NewCertificates(cfg CertificateConfig) (*Certificates, error) {
	if cfg.NodeName == "" || cfg.Logger == nil {
		return nil, errors.New("serving certificate needs NodeName and Logger")
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	if cfg.Addresses == nil {
		cfg.Addresses = func() []corev1.NodeAddress { return nil }
	}
	c := &Certificates{cfg: cfg}
	switch cfg.Mode {
	case CertificateSelfSigned:
	case CertificateFiles:
		if cfg.CertFile == "" || cfg.KeyFile == "" {
			return nil, errors.New("serving certificate from files needs a certificate and a key")
		}
		if _, err := c.fromFiles(); err != nil {
			return nil, err
		}
	case CertificateCSR:
		if cfg.Client == nil || cfg.Signer == "" {
			return nil, errors.New("serving certificate by CSR needs a client of the local cluster and a signer")
		}
		var err error
		if c.store, err = c.openStore(); err != nil {
			return nil, err
		}
		if err := c.makeManager(new(atomic.Bool)); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("serving certificate mode %q is none of csr, selfSigned, files", cfg.Mode)
	}
	return c, nil
}

// makeManager makes a manager, which begins with the certificate in the store. It
// logs nothing once stopping is set.
func (c *Certificates) makeManager(stopping *atomic.Bool) error {
	// The context carries the logger only: Run starts and stops the manager.
	ctx := klog.NewContext(context.Background(), logr.FromSlogHandler(untilStop{c.cfg.Logger.Handler(), stopping}))
	manager, err := certificate.NewManager(&certificate.Config{
		Name:             "kubelet API serving certificate",
		Ctx:              &ctx,
		ClientsetFn:      func(*tls.Certificate) (kubernetes.Interface, error) { return c.cfg.Client, nil },
		GetTemplate:      c.request,
		SignerName:       c.cfg.Signer,
		GetUsages:        certificate.DefaultKubeletServingGetUsages,
		CertificateStore: c.store,
	})
	if err != nil {
		return fmt.Errorf("read stored serving certificate (delete the files in %s to request a new one): %w", c.cfg.Dir, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.manager = manager
	return nil
}

func (c *Certificates) currentManager() certificate.Manager {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.manager
}

func (c *Certificates) openStore() (certificate.Store, error) {
	if c.cfg.Dir == "" {
		return &memoryStore{}, nil
	}
	if err := os.MkdirAll(c.cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of the serving certificate: %w", err)
	}
	store, err := certificate.NewFileStore("kubelet-server", c.cfg.Dir, c.cfg.Dir, "", "")
	if err != nil {
		return nil, fmt.Errorf("open store of the serving certificate: %w", err)
	}
	return store, nil
}

// Run requests and renews certificates until ctx ends. In modes other than csr, it
// returns at once. It can run again later, with the certificate that it has.
func (c *Certificates) Run(ctx context.Context) {
	if c.cfg.Mode != CertificateCSR {
		return
	}
	var stopping atomic.Bool
	if err := c.makeManager(&stopping); err != nil { // one that has been stopped does not start again
		c.cfg.Logger.Error("the serving certificate is not renewed", "error", err)
		return
	}
	manager := c.currentManager()
	manager.Start()
	<-ctx.Done()
	stopping.Store(true)
	manager.Stop()
}

// untilStop drops what the manager logs once it is told to stop: an error because
// the request that it waited for has ended.
type untilStop struct {
	slog.Handler
	stopping *atomic.Bool
}

func (h untilStop) Handle(ctx context.Context, record slog.Record) error {
	if h.stopping.Load() {
		return nil
	}
	return h.Handler.Handle(ctx, record)
}

func (h untilStop) WithAttrs(attrs []slog.Attr) slog.Handler {
	return untilStop{h.Handler.WithAttrs(attrs), h.stopping}
}

func (h untilStop) WithGroup(name string) slog.Handler {
	return untilStop{h.Handler.WithGroup(name), h.stopping}
}

// request returns the template of the CSR, in the form that the signer requires.
// https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
func (c *Certificates) request() *x509.CertificateRequest {
	n := namesOf(c.cfg.Addresses())
	if n.empty() {
		return nil
	}
	return &x509.CertificateRequest{
		Subject: pkix.Name{
			CommonName:   "system:node:" + c.cfg.NodeName,
			Organization: []string{"system:nodes"},
		},
		DNSNames:    n.dns,
		IPAddresses: n.ips,
	}
}

// get is the GetCertificate of tls.Config.
func (c *Certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	current, _, err := c.current()
	return current, err
}

// State returns the state of the certificate that is served.
func (c *Certificates) State() CertificateState {
	state := CertificateState{Mode: c.cfg.Mode}
	current, selfSigned, err := c.current()
	if err != nil {
		state.Message = err.Error()
		return state
	}
	state.SelfSigned = selfSigned
	state.NotAfter = notAfter(current)
	switch {
	case c.cfg.Mode == CertificateFiles:
		if _, err := c.fromFiles(); err != nil {
			state.Message = err.Error()
		}
	case c.cfg.Mode == CertificateCSR && selfSigned && c.request() == nil:
		state.Message = "self-signed until the node has an address: a certificate can only be requested for an address"
	case c.cfg.Mode == CertificateCSR && selfSigned:
		state.Message = fmt.Sprintf("self-signed until the CertificateSigningRequest of system:node:%s for signer %s is approved: "+
			"check its names, then run `kubectl certificate approve`",
			c.cfg.NodeName, c.cfg.Signer)
	}
	return state
}

func (c *Certificates) current() (current *tls.Certificate, selfSigned bool, err error) {
	if c.cfg.Mode == CertificateFiles {
		current, err = c.fromFiles()
		if current != nil {
			return current, false, nil // the last valid pair, if the new one is not valid
		}
		return nil, false, err
	}
	if manager := c.currentManager(); manager != nil {
		if signed := manager.Current(); signed != nil {
			return signed, false, nil
		}
	}
	current, err = c.ownSigned()
	return current, true, err
}

// ownSigned generates a certificate if there is none, if its names changed, or if a
// fifth of its lifetime is left.
func (c *Certificates) ownSigned() (*tls.Certificate, error) {
	n := namesOf(c.cfg.Addresses())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.selfSigned != nil && n.equal(c.selfNames) && c.cfg.Clock.Now().Before(renewalOf(c.selfSigned.Leaf)) {
		return c.selfSigned, nil
	}
	certPEM, keyPEM, err := cert.GenerateSelfSignedCertKey(c.cfg.NodeName, n.ips, n.dns)
	if err != nil {
		return nil, fmt.Errorf("generate self-signed serving certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read self-signed serving certificate: %w", err)
	}
	c.selfSigned, c.selfNames = &pair, n
	return c.selfSigned, nil
}

func renewalOf(leaf *x509.Certificate) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return leaf.NotAfter.Add(-life / 5)
}

func notAfter(c *tls.Certificate) time.Time {
	if c.Leaf == nil {
		return time.Time{}
	}
	return c.Leaf.NotAfter
}

// fileState is the version of the files that was read.
type fileState struct {
	pair      *tls.Certificate
	cert, key fileVersion
	err       error
}

type fileVersion struct {
	modified time.Time
	size     int64
}

// fromFiles reads the pair if one of the files has changed. If the certificate and
// the key do not match, as between the two writes of a renewal, it returns the last
// valid pair, and reads the files again when one changes.
func (c *Certificates) fromFiles() (*tls.Certificate, error) {
	certNow, certErr := versionOf(c.cfg.CertFile)
	keyNow, keyErr := versionOf(c.cfg.KeyFile)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := errors.Join(certErr, keyErr); err != nil {
		return c.files.pair, fmt.Errorf("check serving certificate files: %w", err)
	}
	if certNow == c.files.cert && keyNow == c.files.key {
		return c.files.pair, c.files.err
	}
	c.files.cert, c.files.key, c.files.err = certNow, keyNow, nil
	pair, err := tls.LoadX509KeyPair(c.cfg.CertFile, c.cfg.KeyFile)
	if err != nil {
		c.files.err = fmt.Errorf("read serving certificate %s and key %s: %w", c.cfg.CertFile, c.cfg.KeyFile, err)
		return c.files.pair, c.files.err
	}
	c.files.pair = &pair
	return c.files.pair, nil
}

func versionOf(file string) (fileVersion, error) {
	info, err := os.Stat(file)
	if err != nil {
		return fileVersion{}, err
	}
	return fileVersion{modified: info.ModTime(), size: info.Size()}, nil
}

// names are the subject alternative names of the node, sorted.
type names struct {
	dns []string
	ips []net.IP
}

func namesOf(addresses []corev1.NodeAddress) names {
	var dns, ips []string
	for _, address := range addresses {
		if ip := net.ParseIP(address.Address); ip != nil {
			ips = append(ips, ip.String())
		} else if address.Address != "" {
			dns = append(dns, address.Address)
		}
	}
	slices.Sort(dns)
	slices.Sort(ips)
	n := names{dns: slices.Compact(dns)}
	for _, ip := range slices.Compact(ips) {
		n.ips = append(n.ips, net.ParseIP(ip))
	}
	return n
}

func (n names) empty() bool { return len(n.dns) == 0 && len(n.ips) == 0 }

func (n names) equal(other names) bool {
	return slices.Equal(n.dns, other.dns) && slices.EqualFunc(n.ips, other.ips, net.IP.Equal)
}

// memoryStore keeps the signed pair in memory.
type memoryStore struct {
	mu   sync.Mutex
	pair *tls.Certificate
}

func (m *memoryStore) Current() (*tls.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pair == nil {
		none := certificate.NoCertKeyError("no serving certificate has been signed yet")
		return nil, &none
	}
	return m.pair, nil
}

func (m *memoryStore) Update(certPEM, keyPEM []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read signed serving certificate: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pair = &pair
	return m.pair, nil
}
