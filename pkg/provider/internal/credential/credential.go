package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/claims"
)

const (
	// secretKey is the key of a Secret whose value is a kubeconfig.
	secretKey = "kubeconfig"
	// renewFraction is the share of a token's lifetime after which akd renews it,
	// as a kubelet renews the tokens of pods.
	renewFraction = 0.8
	// renewLife is the longest lifetime of which akd uses that share: like a kubelet,
	// akd renews a token after a day at the latest, also a long-lived one that somebody
	// gave it to begin with.
	// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/token/token_manager.go
	renewLife = 30 * time.Hour
	// checkInterval is how often akd checks whether someone else has stored a
	// token, and whether its own is due for renewal.
	checkInterval = 15 * time.Second
	// rejectedPause is how long akd waits after a token was rejected before it
	// reads the Secret.
	rejectedPause = time.Second
	// A failed renewal is retried after a twentieth of the token's lifetime, and
	// after longestRetry at the latest.
	retryShare   = 20
	longestRetry = time.Minute
	// quietPeriod is how long the Secret may be unreadable before akd reports it:
	// a single failed request does not concern an operator.
	quietPeriod = time.Minute
	// reminderInterval is how often akd reports a lasting problem again: an API
	// server keeps an event for an hour.
	reminderInterval = time.Hour
	// jitter prevents the akds of one cluster from renewing at the same time.
	jitter = 0.05
)

// Credential gives akd access to the cluster that it does not run in: a
// kubeconfig in a Secret of the cluster that it runs in. Its token is
// short-lived. akd renews the token and stores it in the Secret, and adopts a
// token that someone else stores there, without reconnecting: open streams and
// watches continue.
type Credential struct {
	Config

	secret types.NamespacedName
	client kubernetes.Interface // the cluster that the credential is for, as akd itself
	// rejected notifies Run that the cluster rejected the token: someone may have
	// just stored another one.
	rejected chan struct{}

	mu      sync.Mutex
	current parsedCredential
	expired []byte  // a stored kubeconfig that is not used, because its token has expired
	renewal problem // why the last renewal failed
	reading problem // why the content of the Secret is not used
}

// Config holds the settings and dependencies of a Credential.
type Config struct {
	// Side is the cluster that the credential is for, local or remote; for
	// messages.
	Side string
	// Secret is the Secret with the credential: NAMESPACE/NAME.
	Secret string
	// Home is a client of the cluster with the Secret, as akd itself.
	Home kubernetes.Interface
	// NewClient returns a client of the cluster that the credential is for.
	NewClient func(*rest.Config) (kubernetes.Interface, error)
	Clock     clock.WithTicker
	Logger    *slog.Logger
}

// problem is an error that lasts until the next success.
type problem struct {
	err      error     // nil if there is none
	since    time.Time // when it began
	reported time.Time // when it was last reported on the node
}

// Warn reports a warning on the node.
type Warn func(ctx context.Context, reason, message string)

// InvalidError means that the content of a Secret is invalid and that someone has
// to change it.
type InvalidError struct{ Err error }

// Error implements error.
func (e *InvalidError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *InvalidError) Unwrap() error { return e.Err }

// New reads the Secret. The error is an *InvalidError if the Secret does not hold
// a usable kubeconfig.
func New(ctx context.Context, config Config) (*Credential, error) {
	namespace, name, _ := strings.Cut(config.Secret, "/")
	c := &Credential{
		Config:   config,
		secret:   types.NamespacedName{Namespace: namespace, Name: name},
		rejected: make(chan struct{}, 1),
	}
	found, err := c.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("credential of the %s cluster: %w", config.Side, err)
	}
	if c.current, err = c.parse(found); err != nil {
		return nil, &InvalidError{fmt.Errorf("credential of the %s cluster: %w", config.Side, err)}
	}
	if c.client, err = config.NewClient(c.ClientConfig()); err != nil {
		return nil, &InvalidError{fmt.Errorf("credential of the %s cluster: %w", config.Side, err)}
	}
	return c, nil
}

func (c *Credential) read(ctx context.Context) (*corev1.Secret, error) {
	secret, err := c.Home.CoreV1().Secrets(c.secret.Namespace).Get(ctx, c.secret.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read secret %s: %w", c.secret, err)
	}
	return secret, nil
}

// ClientConfig returns the configuration of clients of the cluster. Each request
// carries the token that is current at that time.
func (c *Credential) ClientConfig() *rest.Config {
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

// Expires returns when the token expires, or zero if it does not.
func (c *Credential) Expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.token.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(c.current.token.Expires, 0)
}

// Rejection explains that the cluster does not accept the credential, and what to
// do.
func (c *Credential) Rejection(node string) error {
	when := ""
	if expires := c.Expires(); !expires.IsZero() && !c.Clock.Now().Before(expires) {
		when = ", which expired at " + expires.UTC().Format(time.RFC3339)
	}
	return fmt.Errorf("the %s cluster does not accept akd's credential in secret %s%s: akd waits for another one: "+
		"kubectl actual token rotate %s --remote-context=CONTEXT", c.Side, c.secret, when, node)
}

// Problem returns the error that an operator has to fix: the reason why the last
// renewal failed, or why the content of the Secret is not used. It returns nil if
// there is none.
func (c *Credential) Problem() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.renewal.err != nil || c.reading.reported.IsZero() {
		return c.renewal.err
	}
	return c.reading.err
}

// Run follows the Secret until ctx ends, and renews the token while leads reports
// that this akd is the leader. It returns an error if the Secret refers to
// another server: all state of akd would be that of another cluster.
func (c *Credential) Run(ctx context.Context, leads func() bool, warn Warn) error {
	ticker := c.Clock.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		case <-c.rejected:
			select { // one read of the Secret is enough for many rejected requests
			case <-ctx.Done():
				return nil
			case <-c.Clock.After(rejectedPause):
			}
		}
		if err := c.step(ctx, leads(), warn); err != nil {
			return err
		}
	}
}

// step adopts a token that someone else stored, and renews the token if it is
// due.
func (c *Credential) step(ctx context.Context, leads bool, warn Warn) error {
	secret, err := c.read(ctx)
	if err != nil {
		c.record(ctx, &c.reading, err, quietPeriod, warn)
		return nil
	}
	if err := c.adopt(ctx, secret, warn); err != nil {
		return err
	}
	if !leads {
		c.record(ctx, &c.renewal, nil, 0, warn) // the leader renews and reports
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
		c.current.renewAt = c.Clock.Now().Add(min(c.current.token.Life()/retryShare, longestRetry))
		c.mu.Unlock()
		c.record(ctx, &c.renewal, err, 0, warn)
	}
	return nil
}

// adopt uses the current content of the Secret. If that is unusable, adopt
// reports it and keeps the credential in use.
func (c *Credential) adopt(ctx context.Context, secret *corev1.Secret, warn Warn) error {
	c.mu.Lock()
	same := bytes.Equal(secret.Data[secretKey], c.current.kubeconfig)
	c.mu.Unlock()
	if same {
		c.record(ctx, &c.reading, nil, 0, warn)
		return nil
	}
	next, err := c.parse(secret)
	c.record(ctx, &c.reading, err, 0, warn)
	if err != nil {
		return nil // reported; the credential in use is kept
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if next.expiresBefore(c.current) && next.isExpired(c.Clock.Now()) {
		// The cluster with the Secret was restored from a backup. The renewal stores
		// another token.
		if !bytes.Equal(c.expired, next.kubeconfig) {
			c.expired, c.current.renewAt = next.kubeconfig, c.Clock.Now()
			c.Logger.Warn("the stored credential has expired: akd keeps the one that it has, and renews it", "cluster", c.Side)
		}
		return nil
	}
	if next.config.Host != c.current.config.Host || !bytes.Equal(next.config.CAData, c.current.config.CAData) ||
		!bytes.Equal(next.config.CertData, c.current.config.CertData) || (next.config.BearerToken == "") != (c.current.config.BearerToken == "") {
		return fmt.Errorf("secret %s for the %s cluster changed more than its token (server, CA or client certificate): "+
			"akd exits so that it can restart with the new credential", c.secret, c.Side)
	}
	c.current = next
	c.renewal = problem{} // a token that someone else stored ends it, too
	c.Logger.Info("a changed credential is used", "cluster", c.Side, "expires", time.Unix(next.token.Expires, 0))
	return nil
}

// renew requests a token for akd itself and stores it.
func (c *Credential) renew(ctx context.Context, secret *corev1.Secret, warn Warn) error {
	c.mu.Lock()
	now := c.current
	c.mu.Unlock()
	subject, isAccount := strings.CutPrefix(now.token.Subject, "system:serviceaccount:")
	namespace, name, _ := strings.Cut(subject, ":")
	if !isAccount {
		return errors.New("its token is not a service account's: akd cannot renew it")
	}
	life := int64(c.nextLife(secret, now.token) / time.Second)
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
	secret.Data[secretKey] = kubeconfig
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

// nextLife returns the lifetime of the next token: the one that whoever installed
// akd has chosen. If nobody has, it is that of the current token, up to the default:
// a long-lived token may serve to begin with.
func (c *Credential) nextLife(secret *corev1.Secret, current claims.Claims) time.Duration {
	chosen, found := secret.Annotations[contract.AnnotationTokenLifetime]
	if !found {
		return min(current.Life(), contract.DefaultTokenLifetime)
	}
	life, err := contract.ParseTokenLifetime(chosen)
	if err != nil {
		c.Logger.Warn("the chosen lifetime of akd's token is not used", "secret", c.secret, "annotation", contract.AnnotationTokenLifetime,
			"error", err)
		return min(current.Life(), contract.DefaultTokenLifetime)
	}
	return life
}

// record stores the outcome of an operation. It reports a problem once the
// problem has lasted for the quiet period, when it changes, and again if it lasts
// long, while there is time to fix it.
func (c *Credential) record(ctx context.Context, p *problem, err error, quiet time.Duration, warn Warn) {
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

// isLoud updates the problem and reports whether it is due to be reported.
func (c *Credential) isLoud(p *problem, err error, quiet time.Duration) bool {
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
	loud := now.Sub(p.since) >= quiet && (p.reported.IsZero() || changed || now.Sub(p.reported) >= reminderInterval)
	if loud {
		p.reported = now
	}
	return loud
}
