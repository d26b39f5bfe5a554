package kubeletapi

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/clock"
)

// The defaults of the kubelet for its webhooks, except that a rejected token is cached
// for a shorter time: the cache of the API server may have lagged.
// https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/
const (
	tokenAllowTTL  = 2 * time.Minute
	tokenDenyTTL   = 10 * time.Second
	accessAllowTTL = 5 * time.Minute
	accessDenyTTL  = 30 * time.Second
	reviewCacheLen = 4096
	reviewTime     = 10 * time.Second
	maxReviews     = 32
)

// The ConfigMap in which every cluster publishes the CA of its client certificates.
const (
	clientCANamespace = metav1.NamespaceSystem
	clientCAName      = "extension-apiserver-authentication"
	clientCAKey       = "client-ca-file"
)

var (
	errNoCredentials = errors.New("no credentials")
	errReview        = errors.New("the local API server did not answer the review")
)

// AuthConfig configures an Auth.
type AuthConfig struct {
	// NodeName is the node whose subresources callers must have rights for.
	NodeName string
	// Reviews creates TokenReviews and SubjectAccessReviews in the local cluster, which
	// a node may do (ClusterRole system:node).
	Reviews kubernetes.Interface
	// ClientCA reads ConfigMap kube-system/extension-apiserver-authentication, which
	// requires Role extension-apiserver-authentication-reader. A node may not read it,
	// so this is often a different client.
	ClientCA kubernetes.Interface
	// ClientCAPEM, if set, is used instead of the ConfigMap.
	ClientCAPEM []byte
	// ClientCAInterval is the time between two reads of the ConfigMap, one minute by
	// default.
	ClientCAInterval time.Duration
	// A nil Clock is the real one.
	Clock clock.Clock
	// Logger logs what an operator acts on.
	Logger *slog.Logger
}

// Auth authenticates and authorizes callers against the local cluster: client
// certificates with its client CA, bearer tokens by TokenReview, rights by
// SubjectAccessReview.
//
// authenticatorfactory of k8s.io/apiserver, which the kubelet uses, replaces about
// half of this, but makes akd 61% larger (35.2 to 56.7 MB), with gRPC, CEL and
// OpenTelemetry. It also caches rejected tokens as long as valid ones, and does not
// limit concurrent reviews.
type Auth struct {
	cfg      AuthConfig
	clientCA atomic.Pointer[x509.CertPool]
	tokens   *cache.LRUExpireCache
	access   *cache.LRUExpireCache
	// Two semaphores, so that unauthenticated peers who flood akd with tokens do
	// not hold up the access reviews of the others.
	tokenReviews, accessReviews chan struct{}
}

// NewAuth returns an Auth. It works before Run is called, but has no client CA until
// then, unless ClientCAPEM is set.
func NewAuth(cfg AuthConfig) (*Auth, error) {
	if cfg.NodeName == "" || cfg.Reviews == nil || cfg.Logger == nil {
		return nil, errors.New("kubelet API authentication needs NodeName, Reviews and Logger")
	}
	if cfg.ClientCA == nil && cfg.ClientCAPEM == nil {
		return nil, errors.New("kubelet API authentication needs a client CA: without one, it cannot authenticate kube-apiserver")
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	if cfg.ClientCAInterval == 0 {
		cfg.ClientCAInterval = time.Minute
	}
	a := &Auth{
		cfg:           cfg,
		tokens:        cache.NewLRUExpireCacheWithClock(reviewCacheLen, cfg.Clock),
		access:        cache.NewLRUExpireCacheWithClock(reviewCacheLen, cfg.Clock),
		tokenReviews:  make(chan struct{}, maxReviews),
		accessReviews: make(chan struct{}, maxReviews),
	}
	if cfg.ClientCAPEM != nil {
		if err := a.setClientCA(cfg.ClientCAPEM); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Run keeps the client CA up to date until ctx ends. A cluster rotates its CA by
// publishing the old and the new one together, so reading it at intervals is enough.
func (a *Auth) Run(ctx context.Context) {
	if a.cfg.ClientCAPEM != nil {
		return
	}
	loaded := false
	_ = wait.PollUntilContextCancel(ctx, a.cfg.ClientCAInterval, true, func(ctx context.Context) (bool, error) {
		err := a.refreshClientCA(ctx)
		switch {
		case err == nil:
			loaded = true
		case ctx.Err() != nil:
		case loaded:
			a.cfg.Logger.Warn("cannot refresh the client CA; continuing with the last one", "error", err)
		default:
			a.cfg.Logger.Error("cannot read the client CA; rejecting kube-apiserver until it can be read", "error", err)
		}
		return false, nil //nolint:nilerr // logged above; it is read again
	})
}

func (a *Auth) refreshClientCA(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reviewTime)
	defer cancel()
	var found *corev1.ConfigMap
	err := retry.OnError(reviewBackoff(), worthRetry, func() (err error) {
		found, err = a.cfg.ClientCA.CoreV1().ConfigMaps(clientCANamespace).Get(ctx, clientCAName, metav1.GetOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("get configmap %s/%s (grant Role extension-apiserver-authentication-reader in kube-system): %w",
			clientCANamespace, clientCAName, err)
	}
	return a.setClientCA([]byte(found.Data[clientCAKey]))
}

func (a *Auth) setClientCA(pem []byte) error {
	certs, err := cert.ParseCertsPEM(pem)
	if err != nil {
		return fmt.Errorf("parse client CA: %w", err)
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	a.clientCA.Store(pool)
	return nil
}

// Authenticate returns who sent r. Its error is a Status: 401, or 502 if the local
// API server does not answer.
func (a *Auth) Authenticate(r *http.Request) (authenticationv1.UserInfo, error) {
	user, certErr := a.certificateUser(r)
	if certErr == nil {
		return user, nil
	}
	user, tokenErr := a.tokenUser(r)
	switch {
	case tokenErr == nil:
		return user, nil
	case errors.Is(tokenErr, errReview):
		a.cfg.Logger.Warn("cannot review a token", "error", tokenErr)
		return user, newStatus(http.StatusBadGateway, metav1.StatusReasonServiceUnavailable,
			"node %q cannot ask the local API server about the token: retry in a few seconds", a.cfg.NodeName)
	case !errors.Is(tokenErr, errNoCredentials):
		return user, unauthorized("the bearer token is not valid in this cluster: use a current one")
	case !errors.Is(certErr, errNoCredentials):
		a.cfg.Logger.Debug("client certificate refused", "remoteAddr", r.RemoteAddr, "error", certErr)
		return user, unauthorized("the client certificate is not valid here: it must be signed by the client CA of the cluster, current, " +
			"and for client authentication")
	}
	return user, unauthorized("present a client certificate signed by the cluster's client CA, or a bearer token")
}

func unauthorized(reason string) error {
	return newStatus(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized: %s", reason)
}

// certificateUser verifies the certificate of the connection for every request, so
// that a CA that is withdrawn also affects open connections.
func (a *Auth) certificateUser(r *http.Request) (authenticationv1.UserInfo, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return authenticationv1.UserInfo{}, errNoCredentials
	}
	roots := a.clientCA.Load()
	if roots == nil {
		return authenticationv1.UserInfo{}, errors.New("no client CA yet")
	}
	leaf := r.TLS.PeerCertificates[0]
	options := x509.VerifyOptions{
		Roots:         roots,
		Intermediates: x509.NewCertPool(),
		CurrentTime:   a.cfg.Clock.Now(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range r.TLS.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	if _, err := leaf.Verify(options); err != nil {
		return authenticationv1.UserInfo{}, fmt.Errorf("verify client certificate: %w", err)
	}
	if leaf.Subject.CommonName == "" {
		return authenticationv1.UserInfo{}, errors.New("client certificate has no common name")
	}
	return authenticated(authenticationv1.UserInfo{
		Username: leaf.Subject.CommonName,
		Groups:   slices.Clone(leaf.Subject.Organization),
	}), nil
}

// authenticated adds the group of all authenticated callers, to which RBAC rules may
// refer.
func authenticated(user authenticationv1.UserInfo) authenticationv1.UserInfo {
	const group = "system:authenticated"
	if !slices.Contains(user.Groups, group) {
		user.Groups = append(user.Groups, group)
	}
	return user
}

func (a *Auth) tokenUser(r *http.Request) (authenticationv1.UserInfo, error) {
	scheme, token, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		token = takeProtocolToken(r.Header.Clone())
	}
	if token == "" {
		return authenticationv1.UserInfo{}, errNoCredentials
	}
	key := sha256.Sum256([]byte(token))
	if cached, ok := a.tokens.Get(key); ok {
		return reviewed(cached)
	}
	status, err := a.reviewToken(r.Context(), token)
	if err != nil {
		return authenticationv1.UserInfo{}, fmt.Errorf("%w: %w", errReview, err)
	}
	if !status.Authenticated || status.User.Username == "" {
		a.tokens.Add(key, nil, tokenDenyTTL)
		return reviewed(nil)
	}
	user := authenticated(status.User)
	a.tokens.Add(key, user, tokenAllowTTL)
	return reviewed(user)
}

// takeProtocolToken removes and returns the bearer token that a browser can send only
// as a subprotocol of a WebSocket.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/staging/src/k8s.io/apiserver/pkg/authentication/request/websocket/protocol.go
func takeProtocolToken(header http.Header) (token string) {
	const name, prefix = "Sec-Websocket-Protocol", "base64url.bearer.authorization.k8s.io."
	var kept []string
	for _, line := range header.Values(name) {
		for protocol := range strings.SplitSeq(line, ",") {
			protocol = strings.TrimSpace(protocol)
			encoded, ok := strings.CutPrefix(protocol, prefix)
			if !ok {
				kept = append(kept, protocol)
				continue
			}
			if decoded, err := base64.RawURLEncoding.DecodeString(encoded); err == nil {
				token = string(decoded)
			}
		}
	}
	if len(kept) == 0 {
		header.Del(name)
		return token
	}
	header.Set(name, strings.Join(kept, ", "))
	return token
}

func reviewed(cached any) (authenticationv1.UserInfo, error) {
	user, ok := cached.(authenticationv1.UserInfo)
	if !ok {
		return user, errors.New("token rejected")
	}
	return user, nil
}

func (a *Auth) reviewToken(ctx context.Context, token string) (authenticationv1.TokenReviewStatus, error) {
	var answer *authenticationv1.TokenReview
	err := review(ctx, a.tokenReviews, func(ctx context.Context) (err error) {
		answer, err = a.cfg.Reviews.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: token},
		}, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return authenticationv1.TokenReviewStatus{}, fmt.Errorf("create tokenreview: %w", err)
	}
	return answer.Status, nil
}

// review limits how many reviews callers can make akd request at a time.
func review(ctx context.Context, sem chan struct{}, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, reviewTime)
	defer cancel()
	select {
	case sem <- struct{}{}:
		defer func() { <-sem }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return retry.OnError(reviewBackoff(), func(err error) bool {
		return ctx.Err() == nil && worthRetry(err)
	}, func() error { return request(ctx) })
}

func reviewBackoff() wait.Backoff {
	return wait.Backoff{Steps: 3, Duration: 100 * time.Millisecond, Factor: 3, Jitter: 0.2}
}

// worthRetry reports whether the error is not an answer.
func worthRetry(err error) bool {
	if status := apierrors.APIStatus(nil); !errors.As(err, &status) {
		return true // no response
	}
	return apierrors.IsInternalError(err) || apierrors.IsServerTimeout(err) ||
		apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err)
}

// Authorize returns nil if the user may use the verb on at least one of the
// subresources of the node (KEP-2862). Its error is a Status: 403, or 502 if the
// local API server does not answer.
func (a *Auth) Authorize(ctx context.Context, user authenticationv1.UserInfo, verb string, subresources []string) error {
	for _, subresource := range subresources {
		allowed, err := a.mayAccess(ctx, user, verb, subresource)
		if err != nil {
			a.cfg.Logger.Warn("cannot review access", "error", err)
			return newStatus(http.StatusBadGateway, metav1.StatusReasonServiceUnavailable,
				"node %q cannot ask the local API server what user %q may do: retry in a few seconds", a.cfg.NodeName, user.Username)
		}
		if allowed {
			return nil
		}
	}
	rights := "nodes/" + strings.Join(subresources, " or nodes/")
	return apierrors.NewForbidden(nodesResource, a.cfg.NodeName, fmt.Errorf(
		"user %q needs verb %q on %s of this node: grant it with a ClusterRole such as system:kubelet-api-admin", user.Username, verb, rights))
}

func (a *Auth) mayAccess(ctx context.Context, user authenticationv1.UserInfo, verb, subresource string) (bool, error) {
	spec := authorizationv1.SubjectAccessReviewSpec{
		User:   user.Username,
		UID:    user.UID,
		Groups: user.Groups,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb:        verb,
			Version:     "v1",
			Resource:    "nodes",
			Subresource: subresource,
			Name:        a.cfg.NodeName,
		},
	}
	for name, values := range user.Extra {
		if spec.Extra == nil {
			spec.Extra = map[string]authorizationv1.ExtraValue{}
		}
		spec.Extra[name] = authorizationv1.ExtraValue(values)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return false, fmt.Errorf("encode subjectaccessreview: %w", err)
	}
	key := sha256.Sum256(text)
	if cached, ok := a.access.Get(key); ok {
		allowed, _ := cached.(bool)
		return allowed, nil
	}
	allowed, err := a.reviewAccess(ctx, spec)
	if err != nil {
		return false, err
	}
	ttl := accessDenyTTL
	if allowed {
		ttl = accessAllowTTL
	}
	a.access.Add(key, allowed, ttl)
	return allowed, nil
}

func (a *Auth) reviewAccess(ctx context.Context, spec authorizationv1.SubjectAccessReviewSpec) (bool, error) {
	var answer *authorizationv1.SubjectAccessReview
	err := review(ctx, a.accessReviews, func(ctx context.Context) (err error) {
		answer, err = a.cfg.Reviews.AuthorizationV1().SubjectAccessReviews().Create(ctx,
			&authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return false, fmt.Errorf("create subjectaccessreview: %w", err)
	}
	return answer.Status.Allowed && !answer.Status.Denied, nil
}
