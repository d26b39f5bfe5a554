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
	// credentialReminder is how often a trouble that lasts is told again: an API
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
	side   string // of the cluster that it leads to, for messages
	secret types.NamespacedName
	home   kubernetes.Interface // the cluster with the Secret, as akd itself
	client kubernetes.Interface // the cluster that it leads to, as akd itself
	clock  clock.WithTicker
	logger *slog.Logger
	warn   func(ctx context.Context, reason, message string) // tells those who look at the node
	// rejected tells run that the cluster took the token for nobody's: somebody
	// may have stored another one just now.
	rejected chan struct{}

	mu      sync.Mutex
	current parsedCredential
	renewal trouble // why the last renewal did not succeed
	reading trouble // why what the Secret says is not used
}

// trouble is something that goes wrong until it goes well.
type trouble struct {
	err   error     // nil while all is well
	since time.Time // when it began
	told  time.Time // when those who look at the node were told of it
}

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

// newCredential reads the Secret. The client of the cluster that it leads to is
// made from config.
func newCredential(ctx context.Context, side, secret string, home kubernetes.Interface, logger *slog.Logger) (*credential, error) {
	namespace, name, _ := strings.Cut(secret, "/")
	c := &credential{
		side: side, secret: types.NamespacedName{Namespace: namespace, Name: name},
		home: home, clock: clock.RealClock{}, logger: logger, warn: func(context.Context, string, string) {},
		rejected: make(chan struct{}, 1),
	}
	found, err := c.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("credential of the %s cluster: %w", side, err)
	}
	parsed, err := c.parse(found)
	if err != nil {
		return nil, usagef("credential of the %s cluster: %w", side, err)
	}
	c.current = parsed
	return c, nil
}

func (c *credential) read(ctx context.Context) (*corev1.Secret, error) {
	secret, err := c.home.CoreV1().Secrets(c.secret.Namespace).Get(ctx, c.secret.Name, metav1.GetOptions{})
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
		return parsedCredential{}, fmt.Errorf("secret %s, key %s: it is no kubeconfig", c.secret, credentialKey) // err may quote it
	}
	for _, cluster := range kubeconfig.Clusters {
		if cluster.CertificateAuthority != "" {
			return parsedCredential{}, c.foreign("a file")
		}
	}
	for _, user := range kubeconfig.AuthInfos {
		if user.ClientCertificate != "" || user.ClientKey != "" || user.TokenFile != "" {
			return parsedCredential{}, c.foreign("a file")
		}
		if user.Exec != nil || user.AuthProvider != nil {
			return parsedCredential{}, c.foreign("a program")
		}
	}
	config, err := clientcmd.NewDefaultClientConfig(*kubeconfig, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return parsedCredential{}, fmt.Errorf("secret %s, key %s: it is an incomplete kubeconfig", c.secret, credentialKey)
	}
	parsed := parsedCredential{kubeconfig: content, config: config, token: claimsOf(config.BearerToken)}
	if life := parsed.token.life(); life > 0 {
		share := renewFraction - rand.Float64()*credentialJitter //nolint:gosec // spreads load, nothing secret depends on it
		parsed.renewAt = time.Unix(parsed.token.IssuedAt, 0).Add(time.Duration(float64(life) * share))
	}
	return parsed, nil
}

func (c *credential) foreign(what string) error {
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

// config returns what clients of the cluster are made from: each request
// carries the token of its moment.
func (c *credential) config() *rest.Config {
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

// expires returns when the token ends, or zero when it does not.
func (c *credential) expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.token.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(c.current.token.Expires, 0)
}

// failure returns what an operator has to mend: why the last renewal did not
// succeed, or why what the Secret says is not used; nil when all is well.
func (c *credential) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.renewal.err != nil || c.reading.told.IsZero() {
		return c.renewal.err
	}
	return c.reading.err
}

// run follows the Secret until ctx ends, and renews the token while leads says
// that this akd is the one to do it. It is an error when the Secret leads to
// another server: everything that akd knows would be of another cluster.
func (c *credential) run(ctx context.Context, leads func() bool) error {
	ticker := c.clock.NewTicker(credentialCheck)
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
			case <-c.clock.After(credentialPause):
			}
		}
		if err := c.step(ctx, leads()); err != nil {
			return err
		}
	}
}

// step takes up what others stored, and renews what is due.
func (c *credential) step(ctx context.Context, leads bool) error {
	secret, err := c.read(ctx)
	if err != nil {
		c.note(ctx, &c.reading, err, credentialSilence)
		return nil
	}
	if err := c.takeUp(ctx, secret); err != nil {
		return err
	}
	if !leads {
		c.note(ctx, &c.renewal, nil, 0) // it is another akd's to do, and to tell
		return nil
	}
	c.mu.Lock()
	due := !c.current.renewAt.IsZero() && !c.clock.Now().Before(c.current.renewAt)
	c.mu.Unlock()
	if !due {
		return nil
	}
	if err := c.renew(ctx, secret); err != nil {
		c.mu.Lock()
		c.current.renewAt = c.clock.Now().Add(min(c.current.token.life()/credentialRetryShare, credentialRetry))
		c.mu.Unlock()
		c.note(ctx, &c.renewal, err, 0)
	}
	return nil
}

// takeUp uses what the Secret says now. What cannot be used is told, and the
// credential in use is kept.
func (c *credential) takeUp(ctx context.Context, secret *corev1.Secret) error {
	c.mu.Lock()
	same := bytes.Equal(secret.Data[credentialKey], c.current.kubeconfig)
	c.mu.Unlock()
	if same {
		c.note(ctx, &c.reading, nil, 0)
		return nil
	}
	next, err := c.parse(secret)
	c.note(ctx, &c.reading, err, 0)
	if err != nil {
		return nil // told; the credential in use goes on
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if next.config.Host != c.current.config.Host || !bytes.Equal(next.config.CAData, c.current.config.CAData) ||
		!bytes.Equal(next.config.CertData, c.current.config.CertData) || (next.config.BearerToken == "") != (c.current.config.BearerToken == "") {
		return fmt.Errorf("secret %s now leads to the %s cluster in another way than by another token: akd ends, to be started with it", c.secret, c.side)
	}
	c.current = next
	c.renewal = trouble{} // a token that somebody else stored ends it too
	c.logger.Info("a changed credential is used", "cluster", c.side, "expires", time.Unix(next.token.Expires, 0))
	return nil
}

// renew asks for a token for akd itself and stores it. The life is that of the
// token before, which whoever installed akd has chosen.
func (c *credential) renew(ctx context.Context, secret *corev1.Secret) error {
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
		return fmt.Errorf("request a token of %s service account %s/%s: %w", c.side, namespace, name, err)
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
	stored, err := c.home.CoreV1().Secrets(secret.Namespace).Update(ctx, secret, metav1.UpdateOptions{}) // at its resourceVersion
	if err != nil {
		return fmt.Errorf("store the renewed credential in secret %s: %w", c.secret, err)
	}
	return c.takeUp(ctx, stored)
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

// note remembers how something went. It is loud about a trouble that has lasted
// for the patience given, again when it changes and when it has not ended for
// long, while there is time to mend it.
func (c *credential) note(ctx context.Context, t *trouble, err error, patience time.Duration) {
	if ctx.Err() != nil {
		return
	}
	now := c.clock.Now()
	c.mu.Lock()
	if err == nil {
		*t = trouble{}
		c.mu.Unlock()
		return
	}
	if t.err == nil {
		t.since = now
	}
	changed := t.err == nil || t.err.Error() != err.Error()
	t.err = err
	tell := now.Sub(t.since) >= patience && (t.told.IsZero() || changed || now.Sub(t.told) >= credentialReminder)
	if tell {
		t.told = now
	}
	c.mu.Unlock()
	if !tell {
		return
	}
	left := "it does not expire"
	if expires := c.expires(); !expires.IsZero() {
		left = "it expires in " + expires.Sub(now).Round(time.Second).String()
	}
	c.logger.Error("the credential is not renewed; trying again", "cluster", c.side, "left", left, "error", err)
	c.warn(ctx, "CredentialNotRenewed", fmt.Sprintf("akd's credential for the %s cluster is not renewed, and %s: %v", c.side, left, err))
}
