package translate

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// defaultTokenSeconds is the API's default lifetime of a projected token.
const defaultTokenSeconds = 3600

// Needs is what a pod requires in its remote namespace.
type Needs struct {
	ConfigMaps []string // local names, sorted, each once
	Secrets    []string // likewise
	Tokens     []Token
	Bundles    []Bundle `json:",omitempty"`
	// Certificates are those of the pod itself.
	Certificates []Certificate `json:",omitempty"`
}

// Token is a service account token that a pod mounts.
type Token struct {
	Key               string // in the Secret of TokenSecretName
	Audience          string // "" is that of the API server
	ExpirationSeconds int64  // the requested lifetime
}

// DistinctTokens groups the tokens that one request grants.
func DistinctTokens(tokens []Token) [][]Token {
	var groups [][]Token
	at := map[Token]int{}
	for _, token := range tokens {
		kind := token
		kind.Key = ""
		if i, found := at[kind]; found {
			groups[i] = append(groups[i], token)
			continue
		}
		at[kind] = len(groups)
		groups = append(groups, []Token{token})
	}
	return groups
}

// ServiceAccount returns the name of the local ServiceAccount that a pod runs as.
func ServiceAccount(local *corev1.Pod) string {
	return cmp.Or(local.Spec.ServiceAccountName, "default")
}

// NeedsOf returns what a local pod refers to in its volumes, in the environment of
// all its containers, and in its pull secrets. It includes optional references,
// because their objects may appear later. It leaves out names that are reserved
// for akd: a pod that refers to them is refused, and an object of such a name must
// never be mirrored over one of akd's.
//
// A pod that exceeds the bounds is refused, so it needs nothing. One that has
// started was accepted under other bounds, and keeps what it refers to.
func (b Bounds) NeedsOf(local *corev1.Pod) Needs {
	found, _ := b.collectAll(local)
	if local.Status.StartTime == nil && b.exceeded(found) != nil {
		return Needs{}
	}
	return found.needs()
}

// AdmittedNeeds returns what a pod that has started refers to, whatever the bounds
// are. It leaves out ephemeral containers, which may have been added since.
func AdmittedNeeds(local *corev1.Pod) Needs { return collect(local).needs() }

func (c *collector) needs() Needs {
	return Needs{
		ConfigMaps: slices.DeleteFunc(slices.Sorted(maps.Keys(c.configMaps)), reserved),
		Secrets:    slices.DeleteFunc(slices.Sorted(maps.Keys(c.secrets)), reserved),
		Tokens:     c.tokens,
		Bundles:    c.bundles,

		Certificates: c.certificates,
	}
}

func reserved(name string) bool { return strings.HasPrefix(name, contract.ReservedPrefix) }

// collect collects the needs of a pod without its ephemeral containers.
func collect(local *corev1.Pod) *collector {
	c := newCollector()
	c.visitor().pod(&local.Spec)
	for i := range local.Spec.Volumes {
		if local.Spec.Volumes[i].Projected != nil {
			c.projected(&local.Spec.Volumes[i])
		}
	}
	return c
}

// collector collects the needs of one pod.
type collector struct {
	configMaps, secrets map[string]bool
	tokens              []Token
	bundles             []Bundle
	certificates        []Certificate
}

func newCollector() *collector {
	return &collector{configMaps: map[string]bool{}, secrets: map[string]bool{}}
}

// references returns the number of ConfigMaps and Secrets.
func (c *collector) references() int { return len(c.configMaps) + len(c.secrets) }

// merge adds the needs that others has.
func (c *collector) merge(others *collector) {
	maps.Copy(c.configMaps, others.configMaps)
	maps.Copy(c.secrets, others.secrets)
	c.tokens = append(c.tokens, others.tokens...)
	c.bundles = append(c.bundles, others.bundles...)
	c.certificates = append(c.certificates, others.certificates...)
}

// reserved returns a *Refusal if one of the names is reserved for akd.
func (c *collector) reserved() *Refusal {
	for _, kind := range []struct {
		name  string
		names map[string]bool
	}{{"ConfigMap", c.configMaps}, {"Secret", c.secrets}} {
		for _, name := range slices.Sorted(maps.Keys(kind.names)) {
			if reserved(name) {
				return &Refusal{ReasonReservedName, fmt.Sprintf(
					"The name of %s %q begins with %q, which is reserved for akd: rename it.", kind.name, name, contract.ReservedPrefix)}
			}
		}
	}
	return nil
}

// visitor returns references that collect names.
func (c *collector) visitor() references {
	into := func(names map[string]bool) func(*string) {
		return func(name *string) {
			if *name != "" {
				names[*name] = true
			}
		}
	}
	return references{configMap: into(c.configMaps), secret: into(c.secrets)}
}

// projected collects what akd puts into the Secret of the pod.
func (c *collector) projected(volume *corev1.Volume) {
	for i := range volume.Projected.Sources {
		source := &volume.Projected.Sources[i]
		switch {
		case source.ServiceAccountToken != nil:
			token := Token{Key: tokenKey(volume.Name, i), Audience: source.ServiceAccountToken.Audience, ExpirationSeconds: defaultTokenSeconds}
			if seconds := source.ServiceAccountToken.ExpirationSeconds; seconds != nil {
				token.ExpirationSeconds = *seconds
			}
			c.tokens = append(c.tokens, token)
		case source.ClusterTrustBundle != nil:
			c.bundles = append(c.bundles, bundle(tokenKey(volume.Name, i), source.ClusterTrustBundle))
		case source.PodCertificate != nil:
			c.certificates = append(c.certificates, certificate(tokenKey(volume.Name, i), source.PodCertificate))
		}
	}
}

// ConfigMap returns the remote copy of a local ConfigMap under the given name. The
// copy shares the data of the original; do not modify it.
func (s Site) ConfigMap(local *corev1.ConfigMap, name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name:      name,
			Namespace: s.name,
			Labels:    s.Labels(local.Namespace, local.UID),
		},
		Data:       local.Data,
		BinaryData: local.BinaryData,
		Immutable:  local.Immutable,
	}
}

// Secret returns the remote copy of a local Secret under the given name. The copy
// shares the data of the original; do not modify it.
func (s Site) Secret(local *corev1.Secret, name string) *corev1.Secret {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name:      name,
			Namespace: s.name,
			Labels:    s.Labels(local.Namespace, local.UID),
		},
		Data:      local.Data,
		Type:      local.Type,
		Immutable: local.Immutable,
	}
	if secret.Type == corev1.SecretTypeServiceAccountToken {
		secret.Type = contract.SecretTypeReplicatedToken
	}
	return secret
}

// SameConfigMap reports whether the remote ConfigMap have, trimmed or not, equals
// want. It ignores labels and annotations that others added.
func SameConfigMap(have, want *corev1.ConfigMap) bool {
	return sameLabels(have.Labels, want.Labels) &&
		maps.EqualFunc(have.Data, want.Data, func(held, content string) bool { return held == content || held == shortened(content) }) &&
		maps.EqualFunc(have.BinaryData, want.BinaryData, holds) &&
		immutable(have.Immutable) == immutable(want.Immutable)
}

// SameSecret reports whether the remote Secret have, trimmed or not, equals want.
// It ignores labels and annotations that others added.
func SameSecret(have, want *corev1.Secret) bool {
	return sameLabels(have.Labels, want.Labels) && secretType(have) == secretType(want) &&
		maps.EqualFunc(have.Data, want.Data, holds) &&
		immutable(have.Immutable) == immutable(want.Immutable)
}

func sameLabels(have, want map[string]string) bool {
	for key, value := range want {
		if have[key] != value {
			return false
		}
	}
	return true
}

func immutable(flag *bool) bool { return flag != nil && *flag }

func secretType(secret *corev1.Secret) corev1.SecretType {
	if secret.Type == "" {
		return corev1.SecretTypeOpaque
	}
	return secret.Type
}

// TokenSecret returns the remote Secret with the tokens and trust anchors of a
// local pod, by their keys in Needs. renewAfter is when to renew the tokens, or
// zero if there are none.
func (s Site) TokenSecret(local *corev1.Pod, files map[string]string, renewAfter time.Time) *corev1.Secret {
	data := make(map[string][]byte, len(files))
	for key, content := range files {
		data[key] = []byte(content)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name:      contract.TokenSecretName(local.UID),
			Namespace: s.name,
			Labels:    s.Labels(local.Namespace, local.UID),
		},
		Type: contract.SecretTypePodTokens,
		Data: data,
	}
	if !renewAfter.IsZero() {
		secret.Annotations = map[string]string{contract.AnnotationRenewAfter: renewAfter.UTC().Format(time.RFC3339)}
	}
	return secret
}

// TrimSecret replaces the values in a remote Secret with digests. akd only compares
// them: it never needs a token again once it is written, and copies are of local
// Secrets. It does not trim a Secret with certificates, because their keys are
// written again.
func TrimSecret(remote *corev1.Secret) {
	if IsTokenSecret(remote) && remote.Annotations[contract.AnnotationRefreshCertificates] != "" {
		return
	}
	trimmed := make(map[string][]byte, len(remote.Data))
	for key, content := range remote.Data {
		trimmed[key] = digest(content)
	}
	remote.Data = trimmed
}

// TrimConfigMap replaces the long values in a remote ConfigMap with digests; see
// TrimSecret.
func TrimConfigMap(remote *corev1.ConfigMap) {
	data := make(map[string]string, len(remote.Data))
	for key, content := range remote.Data {
		data[key] = shortened(content)
	}
	binary := make(map[string][]byte, len(remote.BinaryData))
	for key, content := range remote.BinaryData {
		binary[key] = digest(content)
	}
	remote.Data, remote.BinaryData = data, binary
}

// shortened returns a digest of a content, or the content if it is shorter than a
// digest, and so cannot be taken for one.
func shortened(content string) string {
	if len(content) < sha256.Size {
		return content
	}
	return string(digest([]byte(content)))
}

// holds reports whether a value is a content, or the digest of it.
func holds(value, content []byte) bool {
	return bytes.Equal(value, content) || bytes.Equal(value, digest(content))
}

func digest(content []byte) []byte {
	sum := sha256.Sum256(content)
	return sum[:]
}

// HoldsTokens reports whether a Secret of TokenSecret, trimmed or not, has all the
// tokens and otherwise equals want, which has no tokens.
func HoldsTokens(have, want *corev1.Secret, tokens []Token) bool {
	if !sameLabels(have.Labels, want.Labels) || secretType(have) != secretType(want) || immutable(have.Immutable) ||
		len(have.Data) != len(want.Data)+len(tokens) {
		return false
	}
	for _, token := range tokens {
		if len(have.Data[token.Key]) == 0 {
			return false
		}
	}
	for key, content := range want.Data {
		if held, ok := have.Data[key]; !ok || !holds(held, content) {
			return false
		}
	}
	return true
}

// IsTokenSecret reports whether a remote Secret holds the tokens of a pod, and is
// not the copy of a local Secret.
func IsTokenSecret(remote *corev1.Secret) bool {
	return remote.Type == contract.SecretTypePodTokens && contract.IsTokenSecretName(remote.Name)
}

// RenewAfter returns when to renew the tokens in a Secret of TokenSecret, and
// whether the Secret says so.
func RenewAfter(remote *corev1.Secret) (time.Time, bool) {
	when, err := time.Parse(time.RFC3339, remote.Annotations[contract.AnnotationRenewAfter])
	return when, err == nil
}
