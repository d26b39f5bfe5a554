package kubeclient

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/loopback"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
)

// Route is how akd reaches an API server: all that its kubeconfig says of one but
// the token.
type Route struct {
	Server string // its URL
	// Authority are certificates in PEM. akd's image has none of its own.
	Authority  []byte
	ServerName string // that its certificate has, if not the URL's
	Proxy      string // URL, or empty
}

// proveTimeout is how long an API server may take to prove itself: its address may
// be one that is not reached from here.
const proveTimeout = 3 * time.Second

// Route returns the route by which akd reaches the API server: at the given address,
// or at the one that Server finds. It goes by the kubeconfig, and refuses what akd
// cannot or must not do with it. It has the server prove itself by exactly what akd
// will have, if it is reached from here.
func (c *Cluster) Route(ctx context.Context, given string) (Route, error) {
	if err := c.checkVerified(); err != nil {
		return Route{}, err
	}
	server, err := c.Server(ctx, given)
	if err != nil {
		return Route{}, err
	}
	route := Route{Server: server, ServerName: c.Config.ServerName}
	if route.Authority, err = c.authority(); err != nil {
		return Route{}, err
	}
	if len(route.Authority) == 0 {
		if route.Authority, err = c.systemAuthority(ctx); err != nil {
			return Route{}, err
		}
	}
	if server == c.Config.Host {
		if route.Proxy, err = c.proxy(); err != nil {
			return Route{}, err
		}
	}
	return route, c.prove(ctx, route)
}

// checkVerified refuses a kubeconfig by which nobody knows who answers: akd would
// hand its token to anybody.
func (c *Cluster) checkVerified() error {
	address, _, err := rest.DefaultServerUrlFor(c.Config)
	if err != nil {
		return fmt.Errorf("%s cluster: read its address: %w", c.Side, err)
	}
	switch {
	case address.Scheme != "https":
		err := failure.Usagef("the %s cluster's API server %s is reached without TLS, which would show akd's token to anybody",
			c.Side, c.Config.Host)
		return failure.Hintf(err, "name a context whose server is https://HOST:PORT")
	case !c.Config.Insecure:
		return nil
	}
	err = failure.Usagef("the %s cluster's API server %s is not verified: akd would hand its token to anybody who answers there",
		c.Side, c.Config.Host)
	if c.unverified == "" {
		return failure.Hintf(err, "give --certificate-authority=FILE instead of --insecure-skip-tls-verify")
	}
	return failure.Hintf(err, "replace insecure-skip-tls-verify in the kubeconfig by the cluster's CA, in FILE: %s",
		c.Commands.Kubectl(c.Side, "config", "set-cluster", c.unverified,
			"--insecure-skip-tls-verify=false", "--certificate-authority=FILE", "--embed-certs"))
}

// unverifiedIn names the cluster of a context if its entry says
// insecure-skip-tls-verify.
func unverifiedIn(raw *clientcmdapi.Config, context string) string {
	entry := raw.Contexts[cmp.Or(context, raw.CurrentContext)]
	if entry == nil || raw.Clusters[entry.Cluster] == nil || !raw.Clusters[entry.Cluster].InsecureSkipTLSVerify {
		return ""
	}
	return entry.Cluster
}

// proxy is that of the kubeconfig. One of this machine is none for akd.
func (c *Cluster) proxy() (string, error) {
	if c.Config.Proxy == nil {
		return "", nil
	}
	address, err := url.Parse(c.Config.Host)
	if err != nil {
		return "", fmt.Errorf("%s cluster: read its address: %w", c.Side, err)
	}
	proxy, err := c.Config.Proxy(&http.Request{URL: address})
	if err != nil || proxy == nil {
		return "", err
	}
	if loopback.Is(proxy.Hostname()) {
		err := failure.Usagef("the %s kubeconfig's proxy-url %s is a loopback address, which means akd's own pod", c.Side, proxy.Redacted())
		return "", failure.Hintf(err, "give the address at which pods reach the API server without that proxy with --%s-server", c.Side)
	}
	return proxy.String(), nil
}

// systemAuthority are the certificates of this machine that vouch for the API
// server: a kubeconfig without a CA means those of the machine.
func (c *Cluster) systemAuthority(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, ConnectTimeout)
	defer cancel()
	response, err := c.Respond(ctx, "/version")
	if err != nil {
		return nil, err
	}
	if err := response.Body.Close(); err != nil {
		return nil, fmt.Errorf("%s cluster: %w", c.Side, err)
	}
	var roots []*x509.Certificate
	if response.TLS != nil {
		for _, chain := range response.TLS.VerifiedChains {
			roots = append(roots, chain[len(chain)-1])
		}
	}
	if len(roots) == 0 {
		err := failure.Usagef("the %s kubeconfig has no CA, and no certificate of this machine vouches for %s", c.Side, c.Config.Host)
		return nil, failure.Hintf(err, "add the cluster's CA to the kubeconfig, as certificate-authority")
	}
	return encoded(roots), nil
}

// encoded is PEM, in an order that does not depend on the chains'.
func encoded(certificates []*x509.Certificate) []byte {
	slices.SortFunc(certificates, func(a, b *x509.Certificate) int { return bytes.Compare(a.Raw, b.Raw) })
	var content []byte
	for _, certificate := range slices.CompactFunc(certificates, (*x509.Certificate).Equal) {
		content = append(content, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	return content
}

// prove connects by a route, without credentials. It returns an error if what answers
// there cannot prove to be the API server. No answer proves nothing: akd is elsewhere.
// Nor does a wrong one, if the API server could prove itself: private addresses lead to
// other machines from here.
func (c *Cluster) prove(ctx context.Context, route Route) error {
	ctx, cancel := context.WithTimeout(ctx, proveTimeout)
	defer cancel()
	config := &rest.Config{
		Host:            route.Server,
		TLSClientConfig: rest.TLSClientConfig{CAData: route.Authority, ServerName: route.ServerName},
	}
	if route.Proxy != "" {
		proxy, err := url.Parse(route.Proxy)
		if err != nil {
			return fmt.Errorf("%s cluster: read its proxy-url: %w", c.Side, err)
		}
		config.Proxy = http.ProxyURL(proxy)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("%s cluster: %w", c.Side, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, route.Server+"/version", http.NoBody)
	if err != nil {
		return fmt.Errorf("%s cluster: %w", c.Side, err)
	}
	response, err := client.Do(request)
	if err == nil {
		return response.Body.Close()
	}
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	if !unverified && !plain || c.holds(ctx, route) {
		return nil
	}
	err = failure.Usagef("akd could not verify the %s API server at %s: %w", c.Side, route.Server, errors.Unwrap(err))
	return failure.Hintf(err,
		"give an address that its certificate has with --%s-server, or the right CA and tls-server-name in the kubeconfig", c.Side)
}

// holds reports whether the certificate of the API server, as it is reached from here,
// would do for a route.
func (c *Cluster) holds(ctx context.Context, route Route) bool {
	address, err := url.Parse(route.Server)
	if err != nil {
		return false
	}
	response, err := c.Respond(ctx, "/version")
	if err != nil {
		return false
	}
	if err := response.Body.Close(); err != nil || response.TLS == nil || len(response.TLS.PeerCertificates) == 0 {
		return false
	}
	chain := response.TLS.PeerCertificates
	options := x509.VerifyOptions{
		DNSName:       cmp.Or(route.ServerName, address.Hostname()),
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
	}
	options.Roots.AppendCertsFromPEM(route.Authority)
	for _, certificate := range chain[1:] {
		options.Intermediates.AddCert(certificate)
	}
	_, err = chain[0].Verify(options)
	return err == nil
}
