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
)

const (
	// secretKey is the key of a Secret whose value is a kubeconfig.
	secretKey = "kubeconfig"
	// renewFraction is the share of a token's life after which it is
	// renewed, as a kubelet renews pods' tokens.
	renewFraction = 0.8
	// maxLife is the longest life of a token that akd asks for.
	maxLife = 24 * time.Hour
	// checkInterval is how often akd looks whether others have stored a token,
	// and whether its own is to be renewed.
	checkInterval = 15 * time.Second
	// rejectedPause is how long akd waits after a token was rejected before it
	// looks.
	rejectedPause = time.Second
	// A renewal that failed is tried again after a twentieth of the token's life,
	// after longestRetry at the latest.
	retryShare   = 20
	longestRetry = time.Minute
	// quietPeriod is how long the Secret may be unreadable before that is
	// told: one request that fails is none of an operator's business.
	quietPeriod = time.Minute
	// reminderInterval is how often a problem that lasts is told again: an API
	// server keeps an event for an hour.
	reminderInterval = time.Hour
	// jitter keeps the akds of one cluster from renewing at once.
	jitter = 0.05
)

// Credential is akd's way into the cluster that it does not run in: a
// kubeconfig in a Secret of the cluster that it does run in. Its token is short
// of life; akd renews it and stores it back, and takes up what others store,
// without a new connection: open streams and watches go on.
type Credential struct {
	Config

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

// Config is what a credential works with.
type Config struct {
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

// Warn tells those who look at the node.
type Warn func(ctx context.Context, reason, message string)

// InvalidError is what is wrong with a Secret's content, which somebody has
// to change.
type InvalidError struct{ Err error }

// Error implements error.
func (e *InvalidError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *InvalidError) Unwrap() error { return e.Err }

// New reads the Secret. The error is an *InvalidError when the
// Secret does not hold a usable kubeconfig.
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

// ClientConfig returns what clients of the cluster are made from: each request
// carries the token of its moment.
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

// Expires returns when the token ends, or zero when it does not.
func (c *Credential) Expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.token.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(c.current.token.Expires, 0)
}

// Problem returns what an operator has to fix: why the last renewal did not
// succeed, or why the content of the Secret is not used; nil when all is well.
func (c *Credential) Problem() error {
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
func (c *Credential) Run(ctx context.Context, leads func() bool, warn Warn) error {
	ticker := c.Clock.NewTicker(checkInterval)
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
			case <-c.Clock.After(rejectedPause):
			}
		}
		if err := c.step(ctx, leads(), warn); err != nil {
			return err
		}
	}
}

// step takes up what others stored, and renews what is due.
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
		c.current.renewAt = c.Clock.Now().Add(min(c.current.token.life()/retryShare, longestRetry))
		c.mu.Unlock()
		c.record(ctx, &c.renewal, err, 0, warn)
	}
	return nil
}

// adopt uses what the Secret holds now. What cannot be used is told, and the
// credential in use is kept.
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
func (c *Credential) renew(ctx context.Context, secret *corev1.Secret, warn Warn) error {
	c.mu.Lock()
	now := c.current
	c.mu.Unlock()
	subject, isAccount := strings.CutPrefix(now.token.Subject, "system:serviceaccount:")
	namespace, name, _ := strings.Cut(subject, ":")
	if !isAccount {
		return errors.New("its token is not a service account's: akd cannot renew it")
	}
	life := int64(min(now.token.life(), maxLife) / time.Second)
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

// record remembers how something went. It is loud about a problem that has
// lasted for the quiet time given, again when it changes, and when it has not
// ended for long, while there is time to fix it.
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

// isLoud updates the problem and reports whether it is to be told now.
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
	loud := now.Sub(p.since) >= quiet && (p.told.IsZero() || changed || now.Sub(p.told) >= reminderInterval)
	if loud {
		p.told = now
	}
	return loud
}
