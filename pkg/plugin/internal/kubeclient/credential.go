package kubeclient

import (
	"bytes"
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

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
)

const (
	// tokenLife is requested. The server may grant less; akd renews it.
	tokenLife = 24 * time.Hour
	// tokenSpare is how much of its life a token must have left to be kept by a
	// rerun of install.
	tokenSpare = 10 * time.Minute
	// KubeconfigKey is that of the kubeconfig in akd's Secret.
	KubeconfigKey = "kubeconfig"
)

// Credential is with what akd, which runs in the host cluster, reaches its peer.
type Credential struct {
	Owner  contract.Owner // whose akd it is
	Host   *Cluster
	Peer   *Cluster
	Server string // the address of the peer's API server
	// Renew makes a new token even if the stored one is good.
	Renew bool
}

// Store makes sure that akd's Secret in the host cluster leads to the peer. It
// returns when the token in it expires, in RFC 3339.
func (c *Credential) Store(ctx context.Context) (counts Counts, expires string, err error) {
	secrets := c.Host.Client.CoreV1().Secrets(contract.SystemNamespace)
	secret, err := secrets.Get(ctx, c.Owner.Node, metav1.GetOptions{})
	exists := err == nil
	if err != nil && !apierrors.IsNotFound(err) {
		return Counts{}, "", fmt.Errorf("read akd's credential: %w", err)
	}
	if exists {
		if err := c.checkSecret(secret); err != nil {
			return Counts{}, "", err
		}
	}
	ca, err := c.Peer.authority()
	if err != nil {
		return Counts{}, "", err
	}
	if exists && !c.Renew && c.isGood(ctx, secret, ca) {
		return Counts{Unchanged: 1}, secret.Annotations[contract.AnnotationTokenExpires], nil
	}
	content, expires, err := c.kubeconfig(ctx, ca)
	if err != nil {
		return Counts{}, "", err
	}
	if !exists {
		_, err = secrets.Create(ctx, c.fill(&corev1.Secret{}, content, expires), metav1.CreateOptions{FieldManager: FieldManager})
		counts = Counts{Created: 1}
	} else {
		_, err = secrets.Update(ctx, c.fill(secret, content, expires), metav1.UpdateOptions{FieldManager: FieldManager})
		counts = Counts{Changed: 1}
	}
	if err != nil {
		return Counts{}, "", fmt.Errorf("store akd's credential: %w", err)
	}
	return counts, expires, nil
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

func (c *Credential) fill(secret *corev1.Secret, content []byte, expires string) *corev1.Secret {
	secret.Name, secret.Namespace = c.Owner.Node, contract.SystemNamespace
	secret.Labels = map[string]string{LabelManagedBy: FieldManager, LabelPartOf: PartOf, contract.LabelNodeName: c.Owner.Node}
	if c.Host.Side == Remote {
		secret.Labels[contract.LabelClusterUID] = string(c.Owner.ClusterUID)
	}
	secret.Annotations = map[string]string{contract.AnnotationTokenExpires: expires, contract.AnnotationPeerUID: string(c.Peer.UID)}
	secret.Data = map[string][]byte{KubeconfigKey: content}
	return secret
}

// kubeconfig is minified and flat: one server, its CA and a token.
func (c *Credential) kubeconfig(ctx context.Context, ca []byte) (content []byte, expires string, err error) {
	seconds := int64(tokenLife.Seconds())
	granted, err := c.Peer.Client.CoreV1().ServiceAccounts(contract.SystemNamespace).CreateToken(ctx, c.Owner.Node,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		err = fmt.Errorf("request a token of %s ServiceAccount %s/%s: %w", c.Peer.Side, contract.SystemNamespace, c.Owner.Node, err)
		if apierrors.IsForbidden(err) {
			err = failure.Hintf(err, "your user needs the right to create serviceaccounts/token in %s", contract.SystemNamespace)
		}
		return nil, "", err
	}
	name := string(c.Peer.Side)
	made := clientcmdapi.NewConfig()
	made.Clusters[name] = &clientcmdapi.Cluster{Server: c.Server, CertificateAuthorityData: ca, TLSServerName: c.Peer.Config.ServerName}
	made.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: granted.Status.Token}
	made.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	made.CurrentContext = name
	content, err = clientcmd.Write(*made)
	return content, granted.Status.ExpirationTimestamp.UTC().Format(time.RFC3339), err
}

// isGood reports whether a stored credential leads where it should and is
// accepted there.
func (c *Credential) isGood(ctx context.Context, secret *corev1.Secret, ca []byte) bool {
	name := string(c.Peer.Side)
	stored, err := clientcmd.Load(secret.Data[KubeconfigKey])
	if err != nil || stored.Clusters[name] == nil || stored.AuthInfos[name] == nil {
		return false
	}
	expires, err := time.Parse(time.RFC3339, secret.Annotations[contract.AnnotationTokenExpires])
	if err != nil || time.Until(expires) < tokenSpare {
		return false
	}
	found := stored.Clusters[name]
	if found.Server != c.Server || !bytes.Equal(found.CertificateAuthorityData, ca) ||
		secret.Annotations[contract.AnnotationPeerUID] != string(c.Peer.UID) {
		return false
	}
	review, err := c.Peer.Client.AuthenticationV1().TokenReviews().Create(ctx,
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: stored.AuthInfos[name].Token}}, metav1.CreateOptions{})
	return err == nil && review.Status.Authenticated
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
