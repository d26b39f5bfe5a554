package kubeletapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"
)

// everyPath is each route once, with the subresources that open it.
var everyPath = map[string][]string{
	"POST /exec/shop/web/main":             {"proxy"},
	"GET /exec/shop/web/uid-web/main":      {"proxy"},
	"POST /attach/shop/web/main":           {"proxy"},
	"GET /attach/shop/web/uid-web/main":    {"proxy"},
	"POST /portForward/shop/web":           {"proxy"},
	"GET /portForward/shop/web/uid-web":    {"proxy"},
	"GET /containerLogs/shop/web/main":     {"proxy"},
	"POST /run/shop/web/main":              {"proxy"},
	"POST /run/shop/web/uid-web/main":      {"proxy"},
	"GET /run/shop/web/main":               {"proxy"},
	"GET /pods":                            {"pods", "proxy"},
	"GET /runningpods/":                    {"pods", "proxy"},
	"GET /allocatedPods":                   {"pods", "proxy"},
	"GET /configz":                         {"configz", "proxy"},
	"GET /healthz":                         {"healthz", "proxy"},
	"GET /healthz/ping":                    {"healthz", "proxy"},
	"GET /healthz/other":                   {"healthz", "proxy"},
	"GET /metrics":                         {"metrics"},
	"GET /metrics/resource":                {"metrics"},
	"GET /metrics/cadvisor":                {"metrics"},
	"GET /metrics/probes":                  {"metrics"},
	"GET /metrics/slis":                    {"metrics"},
	"GET /stats/summary":                   {"stats"},
	"GET /stats/other":                     {"stats"},
	"GET /logs/syslog":                     {"log"},
	"POST /checkpoint/shop/web/main":       {"checkpoint"},
	"GET /statusz":                         {"statusz"},
	"GET /flagz":                           {"configz"},
	"GET /debug/pprof/":                    {"proxy"},
	"GET /":                                {"proxy"},
	"PUT /exec/shop/web/main":              {"proxy"},
	"GET /exec/shop":                       {"proxy"},
	"GET /metrics%2f..%2fexec/a/b/c":       {"proxy"},
	"GET /exec/shop/web/main%2f..%2f..":    {"proxy"},
	"DELETE /pods":                         {"pods", "proxy"},
	"GET /stats%2Fsummary":                 {"proxy"},
	"POST /exec/shop/web/uid/main/too/far": {"proxy"},
}

// verbs is the verb that a request needs: whoever opens a stream or runs a command
// creates something, whatever the method.
func verbs(method, path string) string {
	for _, opener := range []string{"/exec/shop/", "/attach/shop/", "/portForward/shop/", "/run/shop/"} {
		if strings.HasPrefix(path, opener) && !strings.HasSuffix(path, "/too/far") {
			return "create"
		}
	}
	return map[string]string{"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}[method]
}

// Who may not is refused on every path, and told which right is missing.
func TestEveryPathIsGuarded(t *testing.T) {
	e := newEnv(t)
	foreignCA := newAuthority(t)
	pair := func(a *authority, l leaf) tls.Certificate {
		certPEM, keyPEM := a.sign(t, l)
		p, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	client, serverAuth := x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth
	admins := []string{"admins"}
	callers := map[string]struct {
		reason string
		certs  []tls.Certificate
		token  string
		code   int
	}{
		"Nobody":      {"nothing is anonymous", nil, "", 401},
		"ForeignCert": {"signed by another CA", []tls.Certificate{pair(foreignCA, leaf{name: "x", groups: admins, usage: client})}, "", 401},
		"ServerCert": {"not for client authentication", []tls.Certificate{pair(e.clients, leaf{name: "x", groups: admins, usage: serverAuth})},
			"", 401},
		"ExpiredCert": {"out of date",
			[]tls.Certificate{pair(e.clients, leaf{name: "x", groups: admins, usage: client, ends: time.Now().Add(-time.Minute)})}, "", 401},
		"NamelessCert": {"no user", []tls.Certificate{pair(e.clients, leaf{groups: admins, usage: client})}, "", 401},
		"UnknownToken": {"not of this cluster", nil, "unknown", 401},
		"WeakToken":    {"known, without rights", nil, weakToken, 403},
		"WeakCert":     {"known, without rights", []tls.Certificate{pair(e.clients, leaf{name: "weak", usage: client})}, "", 403},
	}
	for name, caller := range callers {
		t.Run(name, func(t *testing.T) {
			httpClient := e.client(t, caller.certs...)
			for path, subresources := range everyPath {
				method, path, _ := strings.Cut(path, " ")
				req, err := http.NewRequest(method, "https://"+e.addr+path, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Accept", "application/json")
				if caller.token != "" {
					req.Header.Set("Authorization", "Bearer "+caller.token)
				}
				res, err := httpClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				var status metav1.Status
				if err := json.NewDecoder(res.Body).Decode(&status); err != nil {
					t.Errorf("%s %s: no Status: %v", method, path, err)
				}
				_ = res.Body.Close()
				if res.StatusCode != caller.code || int(status.Code) != caller.code {
					t.Errorf("%s %s: %s: got %d %q, want %d", method, path, caller.reason, res.StatusCode, status.Message, caller.code)
				}
				right := fmt.Sprintf(`user "weak" needs verb %q on nodes/%s of this node`,
					verbs(method, path), strings.Join(subresources, " or nodes/"))
				if caller.code == 403 && !strings.Contains(status.Message, right) {
					t.Errorf("%s %s: message %q does not tell %q", method, path, status.Message, right)
				}
			}
			if last := e.remote.last(); last != nil {
				t.Errorf("%s reached the remote", last.URL)
			}
		})
	}
}

// A right on any one of the subresources is enough; a right on another is not.
func TestEachSubresourceOpensItsPaths(t *testing.T) {
	for _, granted := range []string{"proxy", "pods", "configz", "healthz", "metrics", "stats", "log", "checkpoint", "statusz"} {
		t.Run(granted, func(t *testing.T) {
			e := newEnv(t, func(c *Config) {
				auth, err := NewAuth(AuthConfig{
					NodeName: nodeName, ClientCAPEM: newAuthority(t).pem(), Logger: c.Logger,
					Reviews: reviewer(func(spec authorizationv1.SubjectAccessReviewSpec) bool {
						want := &authorizationv1.ResourceAttributes{
							Verb:        spec.ResourceAttributes.Verb,
							Version:     "v1",
							Resource:    "nodes",
							Subresource: granted,
							Name:        nodeName,
						}
						return cmp.Equal(want, spec.ResourceAttributes)
					}),
				})
				if err != nil {
					t.Fatal(err)
				}
				c.Auth = auth
			})
			for path, subresources := range everyPath {
				method, path, _ := strings.Cut(path, " ")
				res, body := e.ask(t, method, path, goodToken)
				if opened := res.StatusCode != 403; opened != slices.Contains(subresources, granted) {
					t.Errorf("%s %s: got %d %s", method, path, res.StatusCode, body)
				}
			}
		})
	}
}

// WebSockets begin with a GET: with the verb of the method, the right to read
// metrics through nodes/proxy was the right to run commands in every container.
func TestReadersOpenNoStream(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		auth, err := NewAuth(AuthConfig{
			NodeName:    nodeName,
			ClientCAPEM: newAuthority(t).pem(),
			Logger:      c.Logger,
			Reviews: reviewer(func(spec authorizationv1.SubjectAccessReviewSpec) bool {
				return spec.ResourceAttributes.Verb == "get"
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Auth = auth
	})
	e.remote.fail = refuse(500, metav1.StatusReasonInternalError, "reached")
	for _, path := range []string{
		execPath, "/attach/shop/web/main?output=1", "/portForward/shop/web?port=80", "/exec/shop/web/uid-web/main?command=id&output=1",
		"/run/shop/web/main?cmd=id",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead, http.MethodPut} {
			req, err := http.NewRequest(method, "https://"+e.addr+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+goodToken)
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "websocket")
			res, err := e.client(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusForbidden {
				t.Errorf("%s %s: got %d, want 403", method, path, res.StatusCode)
			}
		}
	}
	if last := e.remote.last(); last != nil {
		t.Errorf("%s reached the remote", last.URL)
	}
	if res, body := e.ask(t, http.MethodGet, "/pods", goodToken); res.StatusCode != http.StatusOK {
		t.Errorf("/pods: got %d %s: readers may still read", res.StatusCode, body)
	}
}

func TestRightCertificateOpens(t *testing.T) {
	e := newEnv(t)
	certPEM, keyPEM := e.clients.sign(t, leaf{name: "kube-apiserver", groups: []string{"admins"}, usage: x509.ExtKeyUsageClientAuth})
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	res, err := e.client(t, pair).Get("https://" + e.addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("got %d, want 200", res.StatusCode)
	}
}

func TestAnonymousHealth(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.AnonymousHealth = true })
	for path, want := range map[string]int{"/healthz": 200, "/healthz/ping": 200, "/pods": 401, "/healthz/../pods": 401} {
		if res, body := e.ask(t, http.MethodGet, path, ""); res.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", path, res.StatusCode, body, want)
		}
	}
}

func TestReviewsAreRememberedAndForgotten(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	client := reviewer(goodOnly)
	auth, err := NewAuth(AuthConfig{
		NodeName:    nodeName,
		Reviews:     client,
		ClientCAPEM: newAuthority(t).pem(),
		Clock:       clock,
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(token string) {
		r := httptest.NewRequest(http.MethodGet, "/pods", http.NoBody)
		r.Header.Set("Authorization", "bearer "+token)
		if user, err := auth.Authenticate(r); err == nil {
			_ = auth.Authorize(t.Context(), user, "get", []string{"pods"})
		}
	}
	steps := []struct {
		reason string
		after  time.Duration
		token  string
		want   int
	}{
		{"token and access are reviewed", 0, goodToken, 2},
		{"both are remembered", time.Minute, goodToken, 0},
		{"the token is forgotten after 2 minutes, the right after 5", 2 * time.Minute, goodToken, 1},
		{"both are forgotten", 10 * time.Minute, goodToken, 2},
		{"a refused token is reviewed", 0, "unknown", 1},
		{"and remembered as refused", 5 * time.Second, "unknown", 0},
		{"for a short time", 6 * time.Second, "unknown", 1},
		{"a refused right is reviewed", 0, weakToken, 2},
		{"and remembered as refused", 20 * time.Second, weakToken, 0},
		{"for a short time", 11 * time.Second, weakToken, 1},
	}
	for _, step := range steps {
		clock.Step(step.after)
		client.ClearActions()
		ask(step.token)
		if got := len(client.Actions()); got != step.want {
			t.Errorf("%s: %d reviews, want %d", step.reason, got, step.want)
		}
	}
}

func TestSilentLocalAPIServerIsNoRefusal(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("create", "*", func(kubetesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("connection refused")
	})
	e := newEnv(t, func(c *Config) {
		auth, err := NewAuth(AuthConfig{NodeName: nodeName, Reviews: client, ClientCAPEM: newAuthority(t).pem(), Logger: c.Logger})
		if err != nil {
			t.Fatal(err)
		}
		c.Auth = auth
	})
	res, body := e.ask(t, http.MethodGet, "/pods", goodToken)
	if res.StatusCode != http.StatusBadGateway || !strings.Contains(body, "retry") {
		t.Errorf("got %d %s, want 502 and the advice to retry", res.StatusCode, body)
	}
}

func TestClientCAIsReadAgain(t *testing.T) {
	first, second := newAuthority(t), newAuthority(t)
	published := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: clientCANamespace, Name: clientCAName},
		Data:       map[string]string{clientCAKey: string(first.pem())},
	}
	client := fake.NewClientset(published)
	auth, err := NewAuth(AuthConfig{
		NodeName:         nodeName,
		Reviews:          client,
		ClientCA:         client,
		ClientCAInterval: time.Millisecond,
		Logger:           slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); auth.Run(ctx) }()
	defer func() { cancel(); <-done }()
	knows := func(a *authority) func() bool {
		certPEM, keyPEM := a.sign(t, leaf{name: "x", usage: x509.ExtKeyUsageClientAuth})
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			t.Fatal(err)
		}
		return func() bool {
			r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{pair.Leaf}}
			_, err := auth.Authenticate(r)
			return err == nil
		}
	}
	eventually(t, "the published CA is trusted", knows(first))
	published.Data[clientCAKey] = string(second.pem())
	if _, err := client.CoreV1().ConfigMaps(clientCANamespace).Update(t.Context(), published, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its successor is trusted", knows(second))
	if knows(first)() {
		t.Error("the CA that was withdrawn is still trusted")
	}
}
