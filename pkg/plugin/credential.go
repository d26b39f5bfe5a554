package plugin

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

const (
	// tokenLife is asked for. The server may grant less; akd renews it.
	tokenLife = 24 * time.Hour
	// tokenSpare is how long a token has to live on to be kept at a rerun.
	tokenSpare    = 10 * time.Minute
	kubeconfigKey = "kubeconfig"
)

// parseTaints reads KEY=VALUE:EFFECT and KEY:EFFECT.
func parseTaints(taints []string) ([]any, error) {
	var parsed []any
	for _, taint := range taints {
		name, effect, ok := strings.Cut(taint, ":")
		if !ok {
			return nil, usagef("--taint %q: want KEY=VALUE:EFFECT", taint)
		}
		key, value, _ := strings.Cut(name, "=")
		parsed = append(parsed, map[string]any{"key": key, "value": value, "effect": effect})
	}
	return parsed, nil
}

// checkServer refuses an address that akd's pod cannot mean the cluster by.
func checkServer(flag, server string) error {
	if server == "" {
		return nil
	}
	parsed, err := url.Parse(server)
	if err != nil || parsed.Scheme != "https" || parsed.Hostname() == "" {
		return usagef("%s %q: want https://HOST:PORT", flag, server)
	}
	if loopback(parsed.Hostname()) {
		return usagef("%s %s is a loopback address: in akd's pod it means the pod itself; give the address at which pods reach that API server", flag, server)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}

// server is the cluster's address for akd: as given, as in the kubeconfig, or,
// where that one is this machine's own, as the cluster itself publishes it.
func (c *cluster) server(ctx context.Context, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	parsed, err := url.Parse(c.config.Host)
	if err != nil {
		return "", fmt.Errorf("%s cluster: read its address: %w", c.side, err)
	}
	if !loopback(parsed.Hostname()) {
		return c.config.Host, nil
	}
	published, err := c.published(ctx)
	if err != nil {
		return "", err
	}
	for _, server := range published {
		if !loopback(server.Addr().String()) {
			return "https://" + server.String(), nil
		}
	}
	return "", usagef("the %s kubeconfig's server %s is a loopback address, which in akd's pod means the pod itself: give the address at which pods reach it with --remote-server",
		c.side, c.config.Host)
}

// published are the addresses of the cluster's API servers, as it publishes them
// in the Service kubernetes; akd takes the first when nothing else is configured.
func (c *cluster) published(ctx context.Context) (servers []netip.AddrPort, err error) {
	found, err := c.client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx,
		metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return nil, fmt.Errorf("%s cluster: find the address that it publishes: %w", c.side, err)
	}
	for i := range found.Items {
		for _, endpoint := range found.Items[i].Endpoints {
			for _, port := range found.Items[i].Ports {
				for _, address := range endpoint.Addresses {
					if ip, err := netip.ParseAddr(address); err == nil && port.Port != nil {
						servers = append(servers, netip.AddrPortFrom(ip, uint16(*port.Port))) //nolint:gosec // a port that the API server has validated
					}
				}
			}
		}
	}
	return servers, nil
}

// credential is what akd gets to reach the other cluster.
type credential struct {
	node   string
	away   *cluster // that it leads to
	home   *cluster // that akd runs in
	server string
	always bool // a new token even where the present one is good
}

// store makes sure that akd's Secret leads to the other cluster, and says until when.
func (c *credential) store(ctx context.Context) (tally counts, expires string, err error) {
	secrets := c.home.client.CoreV1().Secrets(contract.SystemNamespace)
	secret, err := secrets.Get(ctx, c.node, metav1.GetOptions{})
	existed := err == nil
	if err != nil && !apierrors.IsNotFound(err) {
		return tally, "", fmt.Errorf("read akd's credential: %w", err)
	}
	if existed && secret.Labels["app.kubernetes.io/managed-by"] != fieldManager {
		return tally, "", fmt.Errorf("%s Secret %s/%s is not of kubectl actual: rename it, or choose another node name", c.home.side, contract.SystemNamespace, c.node)
	}
	ca, err := c.away.authority()
	if err != nil {
		return tally, "", err
	}
	if existed && !c.always && c.good(ctx, secret, ca) {
		tally.count(true, true)
		return tally, secret.Annotations[contract.AnnotationTokenExpires], nil
	}
	content, expires, err := c.kubeconfig(ctx, ca)
	if err != nil {
		return tally, "", err
	}
	if !existed {
		secret = &corev1.Secret{}
	}
	secret.Name, secret.Namespace = c.node, contract.SystemNamespace
	secret.Labels = map[string]string{
		"app.kubernetes.io/managed-by": fieldManager, "app.kubernetes.io/part-of": "actual-kubelets", contract.LabelNodeName: c.node,
	}
	secret.Annotations = map[string]string{contract.AnnotationTokenExpires: expires}
	secret.Data = map[string][]byte{kubeconfigKey: content}
	if existed {
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: fieldManager})
	} else {
		_, err = secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: fieldManager})
	}
	if err != nil {
		return tally, "", fmt.Errorf("store akd's credential: %w", err)
	}
	tally.count(existed, false)
	return tally, expires, nil
}

// kubeconfig is minified and flat: one server, its CA and a token.
func (c *credential) kubeconfig(ctx context.Context, ca []byte) (content []byte, expires string, err error) {
	seconds := int64(tokenLife.Seconds())
	granted, err := c.away.client.CoreV1().ServiceAccounts(contract.SystemNamespace).CreateToken(ctx, c.node,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return nil, "", fmt.Errorf("request a token of %s ServiceAccount %s/%s: %w", c.away.side, contract.SystemNamespace, c.node, err)
	}
	made := clientcmdapi.NewConfig()
	made.Clusters[c.away.side] = &clientcmdapi.Cluster{Server: c.server, CertificateAuthorityData: ca, TLSServerName: c.away.config.ServerName}
	made.AuthInfos[c.away.side] = &clientcmdapi.AuthInfo{Token: granted.Status.Token}
	made.Contexts[c.away.side] = &clientcmdapi.Context{Cluster: c.away.side, AuthInfo: c.away.side}
	made.CurrentContext = c.away.side
	content, err = clientcmd.Write(*made)
	return content, granted.Status.ExpirationTimestamp.UTC().Format(time.RFC3339), err
}

// good reports whether a stored credential leads where it should and is accepted there.
func (c *credential) good(ctx context.Context, secret *corev1.Secret, ca []byte) bool {
	stored, err := clientcmd.Load(secret.Data[kubeconfigKey])
	if err != nil || stored.Clusters[c.away.side] == nil || stored.AuthInfos[c.away.side] == nil {
		return false
	}
	expires, err := time.Parse(time.RFC3339, secret.Annotations[contract.AnnotationTokenExpires])
	if err != nil || time.Until(expires) < tokenSpare {
		return false
	}
	found := stored.Clusters[c.away.side]
	if found.Server != c.server || string(found.CertificateAuthorityData) != string(ca) {
		return false
	}
	review, err := c.away.client.AuthenticationV1().TokenReviews().Create(ctx,
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: stored.AuthInfos[c.away.side].Token}}, metav1.CreateOptions{})
	return err == nil && review.Status.Authenticated
}

// authority is the certificate authority that the kubeconfig trusts. Nothing
// means that the machine's own ones do.
func (c *cluster) authority() ([]byte, error) {
	if len(c.config.CAData) > 0 || c.config.CAFile == "" {
		return c.config.CAData, nil
	}
	ca, err := os.ReadFile(c.config.CAFile)
	if err != nil {
		return nil, fmt.Errorf("%s cluster: read its certificate authority: %w", c.side, err)
	}
	return ca, nil
}
