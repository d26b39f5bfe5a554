package provider

import (
	"errors"
	"net/http"
)

// errFenced refuses the write of an akd that does not lead.
var errFenced = errors.New("this akd does not lead any more: it writes nothing")

// fence is the transport of what only the leader may do: it passes on no write of
// an akd that does not lead. The context of the leader's work usually ends first,
// but if the whole process was suspended for longer than its lease, a write may
// come before anything has noticed.
type fence struct {
	next  http.RoundTripper
	leads func() bool
}

// RoundTrip implements http.RoundTripper.
func (f *fence) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet && !f.leads() {
		if request.Body != nil {
			_ = request.Body.Close()
		}
		return nil, errFenced
	}
	return f.next.RoundTrip(request)
}

// WrappedRoundTripper lets apimachinery find the TLS configuration below.
func (f *fence) WrappedRoundTripper() http.RoundTripper { return f.next }
