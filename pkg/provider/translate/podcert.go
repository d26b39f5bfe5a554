package translate

import (
	"encoding/json"
	"encoding/pem"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Certificate is a certificate for the pod itself, with its key, that a pod mounts
// and that a signer of the local cluster issues.
type Certificate struct {
	Key                  string // prefix of its files in the Secret of TokenSecretName
	Signer               string
	KeyType              string
	MaxExpirationSeconds *int32            `json:",omitempty"`
	UserAnnotations      map[string]string `json:",omitempty"`
}

// Files of a certificate in the pod's Secret, after its Key.
const (
	credentialBundleFile = ".pem" // the key and the chain
	privateKeyFile       = ".key"
	chainFile            = ".crt"
)

// Credential is an issued certificate.
type Credential struct {
	PrivateKey string    // PEM, PKCS#8
	Chain      string    // PEM, the leaf first
	Refresh    time.Time // when to request the next one
}

func certificate(key string, from *corev1.PodCertificateProjection) Certificate {
	return Certificate{
		Key:                  key,
		Signer:               from.SignerName,
		KeyType:              from.KeyType,
		MaxExpirationSeconds: from.MaxExpirationSeconds,
		UserAnnotations:      from.UserAnnotations,
	}
}

// certificateFiles are the files of the Secret that the projection mounts.
func certificateFiles(key string, from *corev1.PodCertificateProjection) []corev1.KeyToPath {
	var items []corev1.KeyToPath
	for _, file := range []struct{ suffix, path string }{
		{credentialBundleFile, from.CredentialBundlePath}, {privateKeyFile, from.KeyPath}, {chainFile, from.CertificateChainPath},
	} {
		if file.path != "" {
			items = append(items, corev1.KeyToPath{Key: key + file.suffix, Path: file.path, User: from.User})
		}
	}
	return items
}

// HeldCredential returns the credential of that key in the Secret of a pod, or nil.
func HeldCredential(secret *corev1.Secret, key string) *Credential {
	if secret == nil {
		return nil
	}
	private, chain := secret.Data[key+privateKeyFile], secret.Data[key+chainFile]
	refresh, ok := refreshTimes(secret)[key]
	if len(private) == 0 || len(chain) == 0 || !ok {
		return nil
	}
	return &Credential{PrivateKey: string(private), Chain: string(chain), Refresh: refresh}
}

func refreshTimes(secret *corev1.Secret) map[string]time.Time {
	var times map[string]time.Time
	if json.Unmarshal([]byte(secret.Annotations[contract.AnnotationRefreshCertificates]), &times) != nil {
		return nil // all are requested again
	}
	return times
}

// PodSecret returns TokenSecret with certificates, by their keys in Needs.
func (s Site) PodSecret(
	local *corev1.Pod, files map[string]string, renewTokens time.Time, credentials map[string]*Credential,
) *corev1.Secret {
	secret := s.TokenSecret(local, files, renewTokens)
	times := map[string]time.Time{}
	for key, credential := range credentials {
		secret.Data[key+credentialBundleFile] = []byte(credential.PrivateKey + credential.Chain)
		secret.Data[key+privateKeyFile] = []byte(credential.PrivateKey)
		secret.Data[key+chainFile] = []byte(credential.Chain)
		times[key] = credential.Refresh.UTC().Truncate(time.Second)
	}
	if text, err := json.Marshal(times); err == nil && len(times) > 0 {
		annotations := maps.Clone(secret.Annotations)
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[contract.AnnotationRefreshCertificates] = string(text)
		secret.Annotations = annotations
	}
	return secret
}

// CleanChain removes the headers of the certificates of a chain, and everything
// between them, as a kubelet does.
func CleanChain(chain string) string {
	var clean []byte
	for block, rest := pem.Decode([]byte(chain)); block != nil; block, rest = pem.Decode(rest) {
		clean = slices.Concat(clean, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
	}
	return string(clean)
}
