package kubeclient

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
)

const (
	// A token must have a tenth of its life left to be kept by a rerun of install, but
	// no more than tokenSpare.
	spareShare = 10
	tokenSpare = 10 * time.Minute
	// KubeconfigKey is that of the kubeconfig in akd's Secret.
	KubeconfigKey = "kubeconfig"
)

// Credential is with what akd, which runs in the host cluster, reaches its peer.
type Credential struct {
	Owner contract.Owner // whose akd it is
	Host  *Cluster
	Peer  *Cluster
	Route Route // to the peer's API server
	// Lifetime is that of akd's tokens from now on. If it is 0, it stays as it is.
	Lifetime time.Duration
	// Renew makes a new token even if the stored one is good.
	Renew bool
}

// Stored is what is in akd's Secret.
type Stored struct {
	Counts  Counts
	Expires string // when the token expires, in RFC 3339
	// Shortened says that the API server granted a shorter lifetime than was requested;
	// empty if it did not.
	Shortened string
}

// Store makes sure that akd's Secret in the host cluster leads to the peer.
func (c *Credential) Store(ctx context.Context) (Stored, error) {
	secrets := c.Host.Client.CoreV1().Secrets(contract.SystemNamespace)
	secret, err := secrets.Get(ctx, c.Owner.Node, metav1.GetOptions{})
	exists := err == nil
	if err != nil && !apierrors.IsNotFound(err) {
		return Stored{}, fmt.Errorf("read akd's credential: %w", err)
	}
	if exists {
		if err := c.checkSecret(secret); err != nil {
			return Stored{}, err
		}
	}
	if exists && !c.Renew && c.isGood(ctx, secret) {
		return Stored{Counts: Counts{Unchanged: 1}, Expires: secret.Annotations[contract.AnnotationTokenExpires]}, nil
	}
	life := cmp.Or(c.Lifetime, lifetimeOf(secret))
	granted, err := c.requestToken(ctx, life)
	if err != nil {
		return Stored{}, err
	}
	stored := Stored{
		Counts:    Counts{Created: 1},
		Expires:   granted.Status.ExpirationTimestamp.UTC().Format(time.RFC3339),
		Shortened: shortened(granted, life),
	}
	content, err := c.kubeconfig(granted.Status.Token)
	if err != nil {
		return Stored{}, err
	}
	if !exists {
		_, err = secrets.Create(ctx, c.fill(&corev1.Secret{}, content, stored.Expires, life), metav1.CreateOptions{FieldManager: FieldManager})
	} else {
		_, err = secrets.Update(ctx, c.fill(secret, content, stored.Expires, life), metav1.UpdateOptions{FieldManager: FieldManager})
		stored.Counts = Counts{Changed: 1}
	}
	if err != nil {
		return Stored{}, fmt.Errorf("store akd's credential: %w", err)
	}
	return stored, nil
}

// lifetimeOf returns the lifetime that was chosen for akd's tokens.
func lifetimeOf(secret *corev1.Secret) time.Duration {
	life, err := contract.ParseTokenLifetime(secret.Annotations[contract.AnnotationTokenLifetime])
	if err != nil {
		return contract.DefaultTokenLifetime // nobody has chosen one
	}
	return life
}

// shortened compares what was granted with what was requested.
// https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/ (--service-account-max-token-expiration)
func shortened(granted *authenticationv1.TokenRequest, requested time.Duration) string {
	life := time.Duration(ptr.Deref(granted.Spec.ExpirationSeconds, 0)) * time.Second
	if life <= 0 || life >= requested {
		return ""
	}
	return fmt.Sprintf("its API server grants a token %s instead of %s", life, requested)
}

// checkSecret refuses a Secret that is somebody else's.
func (c *Credential) checkSecret(secret *corev1.Secret) error {
	title := fmt.Sprintf("%s Secret %s/%s", c.Host.Side, contract.SystemNamespace, c.Owner.Node)
	if secret.Labels[LabelManagedBy] != FieldManager {
		return failure.Hintf(fmt.Errorf("%s is not managed by kubectl actual", title), "rename it, or choose another node name")
	}
	if uid := secret.Labels[contract.LabelClusterUID]; c.Host.Side == Remote && uid != string(c.Owner.ClusterUID) {
		return failure.Hintf(fmt.Errorf("%s belongs to another local cluster, with UID %q", title, uid), "choose another node name")
	}
	return nil
}

func (c *Credential) fill(secret *corev1.Secret, content []byte, expires string, life time.Duration) *corev1.Secret {
	secret.Name, secret.Namespace = c.Owner.Node, contract.SystemNamespace
	secret.Labels = map[string]string{LabelManagedBy: FieldManager, LabelPartOf: PartOf, contract.LabelNodeName: c.Owner.Node}
	if c.Host.Side == Remote {
		secret.Labels[contract.LabelClusterUID] = string(c.Owner.ClusterUID)
	}
	secret.Annotations = map[string]string{
		contract.AnnotationTokenExpires:  expires,
		contract.AnnotationTokenLifetime: life.String(),
		contract.AnnotationPeerUID:       string(c.Peer.UID),
	}
	secret.Data = map[string][]byte{KubeconfigKey: content}
	return secret
}

// requestToken requests a token for akd.
func (c *Credential) requestToken(ctx context.Context, life time.Duration) (*authenticationv1.TokenRequest, error) {
	seconds := int64(life.Seconds())
	granted, err := c.Peer.Client.CoreV1().ServiceAccounts(contract.SystemNamespace).CreateToken(ctx, c.Owner.Node,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err == nil {
		return granted, nil
	}
	err = fmt.Errorf("request a token of %s ServiceAccount %s/%s: %w", c.Peer.Side, contract.SystemNamespace, c.Owner.Node, err)
	if apierrors.IsForbidden(err) {
		err = failure.Hintf(err, "your user needs the right to create serviceaccounts/token in %s", contract.SystemNamespace)
	}
	return nil, err
}

// kubeconfig is minified and flat: one route and a token. It never impersonates: akd
// is its own account, whoever installs it.
func (c *Credential) kubeconfig(token string) ([]byte, error) {
	name := string(c.Peer.Side)
	made := clientcmdapi.NewConfig()
	made.Clusters[name] = &clientcmdapi.Cluster{
		Server:                   c.Route.Server,
		CertificateAuthorityData: c.Route.Authority,
		TLSServerName:            c.Route.ServerName,
		ProxyURL:                 c.Route.Proxy,
	}
	made.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token}
	made.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	made.CurrentContext = name
	return clientcmd.Write(*made)
}

// isGood reports whether a stored credential leads where it should, has the lifetime
// that it should, and is accepted.
func (c *Credential) isGood(ctx context.Context, secret *corev1.Secret) bool {
	name := string(c.Peer.Side)
	stored, err := clientcmd.Load(secret.Data[KubeconfigKey])
	if err != nil || stored.Clusters[name] == nil || stored.AuthInfos[name] == nil {
		return false
	}
	life := lifetimeOf(secret)
	if c.Lifetime != 0 && c.Lifetime != life {
		return false
	}
	expires, err := time.Parse(time.RFC3339, secret.Annotations[contract.AnnotationTokenExpires])
	if err != nil || time.Until(expires) < min(tokenSpare, life/spareShare) {
		return false
	}
	if !routeOf(stored.Clusters[name]).equal(c.Route) || secret.Annotations[contract.AnnotationPeerUID] != string(c.Peer.UID) {
		return false
	}
	review, err := c.Peer.Client.AuthenticationV1().TokenReviews().Create(ctx,
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: stored.AuthInfos[name].Token}}, metav1.CreateOptions{})
	return err == nil && review.Status.Authenticated
}

func routeOf(cluster *clientcmdapi.Cluster) Route {
	return Route{
		Server:     cluster.Server,
		Authority:  cluster.CertificateAuthorityData,
		ServerName: cluster.TLSServerName,
		Proxy:      cluster.ProxyURL,
	}
}

func (r Route) equal(other Route) bool {
	return r.Server == other.Server && bytes.Equal(r.Authority, other.Authority) &&
		r.ServerName == other.ServerName && r.Proxy == other.Proxy
}

// Reuse returns the route of a stored credential, with the CA of the kubeconfig if
// that has one: a cluster can have got another.
func (c *Cluster) Reuse(stored *clientcmdapi.Cluster) (Route, error) {
	route := routeOf(stored)
	current, err := c.authority()
	if len(current) > 0 {
		route.Authority = current
	}
	return route, err
}

// CheckPeer returns an error if akd's credential in a Secret leads to another cluster
// than the given one: its UID was recorded with the credential. A credential that
// somebody else has stored has no record: it leads elsewhere if it has another
// server and trusts another CA.
func CheckPeer(secret *corev1.Secret, peer *Cluster) error {
	stored, err := clientcmd.Load(secret.Data[KubeconfigKey])
	if err != nil {
		stored = clientcmdapi.NewConfig()
	}
	server := ""
	var ca []byte
	for _, cluster := range stored.Clusters { // it is minified
		server, ca = cluster.Server, cluster.CertificateAuthorityData
	}
	elsewhere := secret.Annotations[contract.AnnotationPeerUID] != string(peer.UID)
	if _, recorded := secret.Annotations[contract.AnnotationPeerUID]; !recorded {
		authority, err := peer.authority()
		if err != nil {
			return err
		}
		elsewhere = server != "" && server != peer.Config.Host && !bytes.Equal(ca, authority)
	}
	if !elsewhere {
		return nil
	}
	err = fmt.Errorf("akd of node %s has a credential for another %s cluster, at %s, than the one at %s",
		secret.Name, peer.Side, server, peer.Config.Host)
	return failure.Hintf(err, "name that cluster with --%s", map[Side]string{Local: "context", Remote: "remote-context"}[peer.Side])
}

// authority is the certificate authority that the kubeconfig trusts. Empty means
// the machine's own ones.
func (c *Cluster) authority() ([]byte, error) {
	if len(c.Config.CAData) > 0 || c.Config.CAFile == "" {
		return c.Config.CAData, nil
	}
	ca, err := os.ReadFile(c.Config.CAFile)
	if err != nil {
		return nil, fmt.Errorf("%s cluster: read its certificate authority: %w", c.Side, err)
	}
	return ca, nil
}
