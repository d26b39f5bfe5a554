package kubeletapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// userKey carries the authenticated user from authenticated to authorized.
type userKey struct{}

// authenticated rejects requests of unauthenticated callers, before it looks at the
// path.
func (s *Server) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counted := &countedWriter{ResponseWriter: w, code: http.StatusOK}
		route := ""
		defer func() { s.instruments.Answered(route, counted.code) }()
		if !s.open.enter() {
			writeError(counted, r, newStatus(http.StatusBadGateway, metav1.StatusReasonServiceUnavailable,
				"node %q is shutting down: retry in a few seconds", s.cfg.NodeName))
			return
		}
		defer s.open.leave()
		if s.cfg.AnonymousHealth && slices.Contains(healthPaths[:], r.URL.Path) {
			route = "/healthz"
			s.healthz(counted, r)
			return
		}
		user, err := s.cfg.Auth.Authenticate(r)
		if err != nil {
			writeError(counted, r, err)
			return
		}
		// Nothing after this needs the token.
		r.Header.Del("Authorization")
		r = r.WithContext(context.WithValue(r.Context(), userKey{}, user))
		defer func() { route = r.Pattern }() // the mux sets it
		next.ServeHTTP(counted, r)
	})
}

// access is what a path accepts, and the right that it requires.
type access struct {
	methods      string   // separated by spaces; none means any
	verb         string   // if empty, that of the method
	subresources []string // of the node; one of them is enough
}

// authorized rejects requests of callers who lack the right that the path requires.
func (s *Server) authorized(needs access, next http.HandlerFunc) http.HandlerFunc {
	accepted := strings.Fields(needs.methods)
	return func(w http.ResponseWriter, r *http.Request) {
		user, ok := r.Context().Value(userKey{}).(authenticationv1.UserInfo)
		if !ok {
			writeError(w, r, unauthorized("no user"))
			return
		}
		verb := cmp.Or(needs.verb, verbOf(r.Method))
		if err := s.cfg.Auth.Authorize(r.Context(), user, verb, needs.subresources); err != nil {
			s.log.Debug("request refused", "user", user.Username, "method", r.Method, "path", r.URL.Path, "error", err)
			writeError(w, r, err)
			return
		}
		if len(accepted) > 0 && !slices.Contains(accepted, r.Method) {
			methodNotAllowed(w, r, accepted)
			return
		}
		markAuthorized(r.Context())
		next(w, r)
	}
}

// verbOf is the verb that the kubelet authorizes for an HTTP method. It is empty for
// other methods, including HEAD.
func verbOf(method string) string {
	switch method {
	case http.MethodPost:
		return "create"
	case http.MethodGet:
		return "get"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	}
	return ""
}

// acquire reserves a stream to the pod for the caller.
func (s *Server) acquire(r *http.Request, to target, what string) (release func(), err error) {
	user, _ := r.Context().Value(userKey{}).(authenticationv1.UserInfo)
	h := holder{user: user.Username, namespace: to.namespace, pod: to.pod}
	release, limit, reached := s.streams.acquire(h)
	if release != nil {
		return release, nil
	}
	return nil, withRetry(newStatus(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests,
		"node %q carries %d streams%s already, its limit: close some, then retry the %s", s.cfg.NodeName, limit, h.whose(reached), what), 1)
}

// inFlight counts requests, so that shutdown can wait for the last one: http.Server
// does not track connections once they are upgraded.
type inFlight struct {
	mu      sync.Mutex
	count   int
	drained chan struct{} // closed when empty, once draining
}

func (f *inFlight) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.drained != nil {
		return false
	}
	f.count++
	return true
}

func (f *inFlight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count--
	if f.drained != nil && f.count == 0 {
		close(f.drained)
	}
}

// drain rejects new requests. The channel closes when the last request has ended.
func (f *inFlight) drain() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.drained == nil {
		f.drained = make(chan struct{})
		if f.count == 0 {
			close(f.drained)
		}
	}
	return f.drained
}
