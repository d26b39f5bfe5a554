package provider

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

const (
	// credentialKey is the key of a Secret whose value is a kubeconfig.
	credentialKey = "kubeconfig"
	// credentialRenewFraction is the share of a token's life after which it is
	// renewed, as a kubelet renews pods' tokens.
	credentialRenewFraction = 0.8
	// credentialMaxLife is the longest life of a token that akd asks for.
	credentialMaxLife = 24 * time.Hour
	// credentialCheck is how often akd looks whether others have stored a token,
	// and whether its own is to be renewed.
	credentialCheck = 15 * time.Second
	// credentialPause is how long akd waits after a token was rejected before it
	// looks.
	credentialPause = time.Second
	// A renewal that failed is tried again after a twentieth of the token's life,
	// after credentialRetry at the latest.
	credentialRetryShare = 20
	credentialRetry      = time.Minute
	// credentialSilence is how long the Secret may be unreadable before that is
	// told: one request that fails is none of an operator's business.
	credentialSilence = time.Minute
	// credentialReminder is how often a problem that lasts is told again: an API
	// server keeps an event for an hour.
	credentialReminder = time.Hour
	// credentialJitter keeps the akds of one cluster from renewing at once.
	credentialJitter = 0.05
)

// credential is akd's way into the cluster that it does not run in: a
// kubeconfig in a Secret of the cluster that it does run in. Its token is short
// of life; akd renews it and stores it back, and takes up what others store,
// without a new connection: open streams and watches go on.
type credential struct {
	credentialConfig

	secret types.NamespacedName
	client kubernetes.Interface // the cluster that it leads to, as akd itself
	// rejected tells Run that the cluster rejected the token: somebody may have
	// stored another one just now.
	rejected chan struct{}

	mu      sync.Mutex
	current parsedCredential
	renewal problem // why the last renewal did not succeed
	reading problem // why the content of the Secret is not used
}

// credentialConfig is what a credential works with.
type credentialConfig struct {
	// Side is the cluster that the credential leads to, local or remote; for
	// messages.
	Side string
	// Secret holds the credential: NAMESPACE/NAME.
	Secret string
	// Home is the cluster with the Secret, as akd itself.
	Home kubernetes.Interface
	// NewClient makes a client of the cluster that the credential leads to.
	NewClient func(*rest.Config) (kubernetes.Interface, error)
	Clock     clock.WithTicker
	Logger    *slog.Logger
}

// problem is something that goes wrong until it goes well.
type problem struct {
	err   error     // nil while all is well
	since time.Time // when it began
	told  time.Time // when those who look at the node were told of it
}

// warn tells those who look at the node.
type warn func(ctx context.Context, reason, message string)

// InvalidCredential is what is wrong with a Secret's content, which somebody has
// to change.
type InvalidCredential struct{ Err error }

// Error implements error.
func (e *InvalidCredential) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *InvalidCredential) Unwrap() error { return e.Err }

// parsedCredential is what a kubeconfig in a Secret says.
type parsedCredential struct {
	kubeconfig []byte
	config     *rest.Config
	token      claims
	renewAt    time.Time // zero for a token that does not expire
}

// claims are those of a service account token. They are not verified: the
// server does that, and only akd's own timing follows from them.
type claims struct {
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	IssuedAt int64    `json:"iat"`
	Expires  int64    `json:"exp"`
}

// audience is one string or a list of them.
// https://www.rfc-editor.org/rfc/rfc7519#section-4.1.3
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// newCredential reads the Secret. The error is an *InvalidCredential when the
// Secret does not hold a usable kubeconfig.
func newCredential(ctx context.Context, config credentialConfig) (*credential, error) {
	namespace, name, _ := strings.Cut(config.Secret, "/")
	c := &credential{
		credentialConfig: config,
		secret:           types.NamespacedName{Namespace: namespace, Name: name},
		rejected:         make(chan struct{}, 1),
	}
	found, err := c.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("credential of the %s cluster: %w", config.Side, err)
	}
	if c.current, err = c.parse(found); err != nil {
		return nil, &InvalidCredential{fmt.Errorf("credential of the %s cluster: %w", config.Side, err)}
	}
	if c.client, err = config.NewClient(c.ClientConfig()); err != nil {
		return nil, &InvalidCredential{fmt.Errorf("credential of the %s cluster: %w", config.Side, err)}
	}
	return c, nil
}

func (c *credential) read(ctx context.Context) (*corev1.Secret, error) {
	secret, err := c.Home.CoreV1().Secrets(c.secret.Namespace).Get(ctx, c.secret.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read secret %s: %w", c.secret, err)
	}
	return secret, nil
}

// parse takes nothing that would read files or run programs of this machine:
// whoever may write the Secret must gain no more than its credential is worth.
func (c *credential) parse(secret *corev1.Secret) (parsedCredential, error) {
	content := secret.Data[credentialKey]
	if len(content) == 0 {
		return parsedCredential{}, fmt.Errorf("secret %s has no key %s: want a kubeconfig there, as kubectl actual install writes it", c.secret, credentialKey)
	}
	kubeconfig, err := clientcmd.Load(content)
	if err != nil {
		return parsedCredential{}, fmt.Errorf("secret %s, key %s: the value is not a kubeconfig", c.secret, credentialKey) // err may quote it
	}
	for _, cluster := range kubeconfig.Clusters {
		if cluster.CertificateAuthority != "" {
			return parsedCredential{}, c.externalRef("a file")
		}
	}
	for _, user := range kubeconfig.AuthInfos {
		if user.ClientCertificate != "" || user.ClientKey != "" || user.TokenFile != "" {
			return parsedCredential{}, c.externalRef("a file")
		}
		if user.Exec != nil || user.AuthProvider != nil {
			return parsedCredential{}, c.externalRef("a program")
		}
	}
	config, err := clientcmd.NewDefaultClientConfig(*kubeconfig, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return parsedCredential{}, fmt.Errorf("secret %s, key %s: the kubeconfig is incomplete", c.secret, credentialKey)
	}
	parsed := parsedCredential{kubeconfig: content, config: config, token: claimsOf(config.BearerToken)}
	if life := parsed.token.life(); life > 0 {
		share := credentialRenewFraction - rand.Float64()*credentialJitter //nolint:gosec // spreads load, nothing secret depends on it
		parsed.renewAt = time.Unix(parsed.token.IssuedAt, 0).Add(time.Duration(float64(life) * share))
	}
	return parsed, nil
}

func (c *credential) externalRef(what string) error {
	return fmt.Errorf("secret %s, key %s: it names %s, which akd's pod does not have: want a kubeconfig with everything in it", c.secret, credentialKey, what)
}

// claimsOf returns the claims of a token, or none when it is not a JWT.
func claimsOf(token string) claims {
	const parts = 3
	var found claims
	split := strings.Split(token, ".")
	if len(split) != parts {
		return found
	}
	payload, err := base64.RawURLEncoding.DecodeString(split[1])
	if err != nil || json.Unmarshal(payload, &found) != nil {
		return claims{}
	}
	return found
}

// life is how long the token was granted for, or 0 when it does not expire.
func (c claims) life() time.Duration {
	if c.IssuedAt == 0 || c.Expires <= c.IssuedAt {
		return 0
	}
	return time.Duration(c.Expires-c.IssuedAt) * time.Second
}

// ClientConfig returns what clients of the cluster are made from: each request
// carries the token of its moment.
func (c *credential) ClientConfig() *rest.Config {
	c.mu.Lock()
	cfg := rest.CopyConfig(c.current.config)
	c.mu.Unlock()
	if cfg.BearerToken == "" {
		return cfg // a client certificate, which is not renewed
	}
	cfg.BearerToken = ""
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &bearer{credential: c, next: next} })
	return cfg
}

func (c *credential) bearerToken() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.config.BearerToken
}

// bearer adds the current token to each request.
type bearer struct {
	credential *credential
	next       http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = utilnet.CloneRequest(req)
	req.Header.Set("Authorization", "Bearer "+b.credential.bearerToken())
	res, err := b.next.RoundTrip(req)
	if err == nil && res.StatusCode == http.StatusUnauthorized {
		select {
		case b.credential.rejected <- struct{}{}:
		default: // it is told already
		}
	}
	return res, err
}

// WrappedRoundTripper implements utilnet.RoundTripperWrapper.
func (b *bearer) WrappedRoundTripper() http.RoundTripper { return b.next }

// Expires returns when the token ends, or zero when it does not.
func (c *credential) Expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.token.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(c.current.token.Expires, 0)
}

// Problem returns what an operator has to fix: why the last renewal did not
// succeed, or why the content of the Secret is not used; nil when all is well.
func (c *credential) Problem() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.renewal.err != nil || c.reading.told.IsZero() {
		return c.renewal.err
	}
	return c.reading.err
}

// Run follows the Secret until ctx ends, and renews the token while leads says
// that this akd is the one to do it. It is an error when the Secret leads to
// another server: everything that akd knows would be of another cluster.
func (c *credential) Run(ctx context.Context, leads func() bool, warn warn) error {
	ticker := c.Clock.NewTicker(credentialCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		case <-c.rejected:
			select { // each request may be rejected: the Secret is not read for each
			case <-ctx.Done():
				return nil
			case <-c.Clock.After(credentialPause):
			}
		}
		if err := c.step(ctx, leads(), warn); err != nil {
			return err
		}
	}
}

// step takes up what others stored, and renews what is due.
func (c *credential) step(ctx context.Context, leads bool, warn warn) error {
	secret, err := c.read(ctx)
	if err != nil {
		c.record(ctx, &c.reading, err, credentialSilence, warn)
		return nil
	}
	if err := c.adopt(ctx, secret, warn); err != nil {
		return err
	}
	if !leads {
		c.record(ctx, &c.renewal, nil, 0, warn) // it is another akd's to do, and to tell
		return nil
	}
	c.mu.Lock()
	due := !c.current.renewAt.IsZero() && !c.Clock.Now().Before(c.current.renewAt)
	c.mu.Unlock()
	if !due {
		return nil
	}
	if err := c.renew(ctx, secret, warn); err != nil {
		c.mu.Lock()
		c.current.renewAt = c.Clock.Now().Add(min(c.current.token.life()/credentialRetryShare, credentialRetry))
		c.mu.Unlock()
		c.record(ctx, &c.renewal, err, 0, warn)
	}
	return nil
}

// adopt uses what the Secret holds now. What cannot be used is told, and the
// credential in use is kept.
func (c *credential) adopt(ctx context.Context, secret *corev1.Secret, warn warn) error {
	c.mu.Lock()
	same := bytes.Equal(secret.Data[credentialKey], c.current.kubeconfig)
	c.mu.Unlock()
	if same {
		c.record(ctx, &c.reading, nil, 0, warn)
		return nil
	}
	next, err := c.parse(secret)
	c.record(ctx, &c.reading, err, 0, warn)
	if err != nil {
		return nil // told; the credential in use goes on
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if next.config.Host != c.current.config.Host || !bytes.Equal(next.config.CAData, c.current.config.CAData) ||
		!bytes.Equal(next.config.CertData, c.current.config.CertData) || (next.config.BearerToken == "") != (c.current.config.BearerToken == "") {
		return fmt.Errorf("secret %s for the %s cluster changed more than its token (server, CA or client certificate): "+
			"akd exits so that it can restart with the new credential", c.secret, c.Side)
	}
	c.current = next
	c.renewal = problem{} // a token that somebody else stored ends it too
	c.Logger.Info("a changed credential is used", "cluster", c.Side, "expires", time.Unix(next.token.Expires, 0))
	return nil
}

// renew asks for a token for akd itself and stores it. The life is that of the
// token before, which whoever installed akd has chosen.
func (c *credential) renew(ctx context.Context, secret *corev1.Secret, warn warn) error {
	c.mu.Lock()
	now := c.current
	c.mu.Unlock()
	subject, isAccount := strings.CutPrefix(now.token.Subject, "system:serviceaccount:")
	namespace, name, _ := strings.Cut(subject, ":")
	if !isAccount {
		return errors.New("its token is not a service account's: akd cannot renew it")
	}
	life := int64(min(now.token.life(), credentialMaxLife) / time.Second)
	granted, err := c.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: slices.Clone(now.token.Audience), ExpirationSeconds: &life},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("request a token of %s service account %s/%s: %w", c.Side, namespace, name, err)
	}
	kubeconfig, err := withToken(now.kubeconfig, granted.Status.Token)
	if err != nil {
		return err
	}
	secret = secret.DeepCopy()
	secret.Data[credentialKey] = kubeconfig
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[contract.AnnotationTokenExpires] = granted.Status.ExpirationTimestamp.UTC().Format(time.RFC3339)
	stored, err := c.Home.CoreV1().Secrets(secret.Namespace).Update(ctx, secret, metav1.UpdateOptions{}) // at its resourceVersion
	if err != nil {
		return fmt.Errorf("store the renewed credential in secret %s: %w", c.secret, err)
	}
	return c.adopt(ctx, stored, warn)
}

// withToken returns the kubeconfig with another token.
func withToken(kubeconfig []byte, token string) ([]byte, error) {
	parsed, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, errors.New("the credential in use is no kubeconfig")
	}
	current := parsed.Contexts[parsed.CurrentContext]
	if current == nil || parsed.AuthInfos[current.AuthInfo] == nil {
		return nil, errors.New("the credential in use has no user")
	}
	parsed.AuthInfos[current.AuthInfo] = &clientcmdapi.AuthInfo{Token: token}
	return clientcmd.Write(*parsed)
}

// record remembers how something went. It is loud about a problem that has
// lasted for the quiet time given, again when it changes, and when it has not
// ended for long, while there is time to fix it.
func (c *credential) record(ctx context.Context, p *problem, err error, quiet time.Duration, warn warn) {
	if ctx.Err() != nil || !c.isLoud(p, err, quiet) {
		return
	}
	left := "it does not expire"
	if expires := c.Expires(); !expires.IsZero() {
		left = "it expires in " + expires.Sub(c.Clock.Now()).Round(time.Second).String()
	}
	c.Logger.Error("the credential is not renewed; trying again", "cluster", c.Side, "left", left, "error", err)
	warn(ctx, "CredentialNotRenewed", fmt.Sprintf("akd's credential for the %s cluster is not renewed, and %s: %v", c.Side, left, err))
}

// isLoud updates the problem and reports whether it is to be told now.
func (c *credential) isLoud(p *problem, err error, quiet time.Duration) bool {
	now := c.Clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		*p = problem{}
		return false
	}
	if p.err == nil {
		p.since = now
	}
	changed := p.err == nil || p.err.Error() != err.Error()
	p.err = err
	loud := now.Sub(p.since) >= quiet && (p.told.IsZero() || changed || now.Sub(p.told) >= credentialReminder)
	if loud {
		p.told = now
	}
	return loud
}
