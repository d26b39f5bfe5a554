package contract

import (
	"fmt"
	"time"
)

// AnnotationTokenLifetime is the lifetime of the tokens that akd requests for
// itself, as Go writes a duration. It is set on the Secret that holds akd's
// credential. The API server may grant less.
const AnnotationTokenLifetime = Domain + "token-lifetime"

// Lifetimes of akd's tokens.
const (
	// DefaultTokenLifetime is the lifetime that nobody has chosen.
	DefaultTokenLifetime = MaxTokenLifetime
	// MinTokenLifetime is the shortest one that an API server grants.
	// https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
	MinTokenLifetime = 10 * time.Minute
	// MaxTokenLifetime is the longest one that the policy of tokens in the remote
	// cluster admits: a thief of a token must not make another that lives for years.
	MaxTokenLifetime = 24 * time.Hour
)

// ParseTokenLifetime returns a lifetime of akd's tokens: whole minutes, within the
// bounds. An API server takes 3607 seconds for a year.
// https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/ (--service-account-extend-token-expiration)
func ParseTokenLifetime(text string) (time.Duration, error) {
	life, err := time.ParseDuration(text)
	if err != nil || life < MinTokenLifetime || life > MaxTokenLifetime || life%time.Minute != 0 {
		return 0, fmt.Errorf("lifetime %q: want whole minutes from 10m to 24h, such as 12h", text)
	}
	return life, nil
}
