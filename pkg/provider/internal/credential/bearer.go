package credential

import (
	"net/http"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

func (c *Credential) bearerToken() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.config.BearerToken
}

// bearer adds the current token to each request.
type bearer struct {
	credential *Credential
	next       http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = utilnet.CloneRequest(req)
	req.Header.Set("Authorization", "Bearer "+b.credential.bearerToken())
	res, err := b.next.RoundTrip(req)
	if err == nil && res.StatusCode == http.StatusUnauthorized {
		select {
		case b.credential.rejected <- struct{}{}:
		default: // Run is already notified
		}
	}
	return res, err
}

// WrappedRoundTripper implements utilnet.RoundTripperWrapper.
func (b *bearer) WrappedRoundTripper() http.RoundTripper { return b.next }
