package credential

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/claims"
)

// parsedCredential is the content of a kubeconfig in a Secret.
type parsedCredential struct {
	kubeconfig []byte
	config     *rest.Config
	token      claims.Claims
	renewAt    time.Time // zero for a token that does not expire
}

func (p parsedCredential) expiresBefore(other parsedCredential) bool {
	return p.token.Expires != 0 && p.token.Expires < other.token.Expires
}

func (p parsedCredential) isExpired(now time.Time) bool {
	return p.token.Expires != 0 && now.Unix() >= p.token.Expires
}

// parse rejects a kubeconfig that would read files or run programs on this
// machine: permission to write the Secret must grant no more than its credential
// does.
func (c *Credential) parse(secret *corev1.Secret) (parsedCredential, error) {
	content := secret.Data[secretKey]
	if len(content) == 0 {
		return parsedCredential{}, fmt.Errorf("secret %s has no key %s: want a kubeconfig there, as kubectl actual install writes it",
			c.secret, secretKey)
	}
	kubeconfig, err := clientcmd.Load(content)
	if err != nil {
		return parsedCredential{}, fmt.Errorf("secret %s, key %s: the value is not a kubeconfig", c.secret, secretKey) // err may quote it
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
		return parsedCredential{}, fmt.Errorf("secret %s, key %s: the kubeconfig is incomplete", c.secret, secretKey)
	}
	parsed := parsedCredential{kubeconfig: content, config: config, token: claims.Of(config.BearerToken)}
	if life := parsed.token.Life(); life > 0 {
		share := renewFraction - rand.Float64()*jitter //nolint:gosec // spreads load, nothing secret depends on it
		parsed.renewAt = time.Unix(parsed.token.IssuedAt, 0).Add(time.Duration(float64(min(life, renewLife)) * share))
	}
	return parsed, nil
}

func (c *Credential) externalRef(what string) error {
	return fmt.Errorf("secret %s, key %s: it names %s, which akd's pod does not have: want a kubeconfig with everything in it",
		c.secret, secretKey, what)
}

// withToken returns the kubeconfig with its token replaced.
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
