package credential

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// A token is renewed at 80% of its granted lifetime, and stored for the next akd.
func TestCredentialIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVault(10 * time.Minute)
		c := v.open(t)
		go func() { _ = c.Run(t.Context(), always, v.warn) }()
		time.Sleep(7 * time.Minute) // in fake time
		synctest.Wait()
		if granted, _, _ := v.reported(); granted != 0 {
			t.Error("renewed long before it was due")
		}
		time.Sleep(90 * time.Second) // in fake time
		synctest.Wait()
		if granted, _, _ := v.reported(); granted != 1 {
			t.Fatalf("%d tokens were granted after 85%% of the first one's life, want 1", granted)
		}
		secret := v.stored(t)
		if !strings.Contains(string(secret.Data[secretKey]), c.bearerToken()) {
			t.Error("the token in use was not stored")
		}
		want := c.Expires().UTC().Format(time.RFC3339)
		if got := secret.Annotations[contract.AnnotationTokenExpires]; got != want {
			t.Errorf("annotation %s: %q, want %q", contract.AnnotationTokenExpires, got, want)
		}
		time.Sleep(time.Hour) // in fake time
		synctest.Wait()
		if left := time.Until(c.Expires()); left <= 0 {
			t.Errorf("after an hour the token has %s left", left)
		}
	})
}

// If several akds run, only the leader renews; the others use the token that it
// stores.
func TestCredentialOfTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVault(10 * time.Minute)
		leader, other := v.open(t), v.open(t)
		go func() { _ = leader.Run(t.Context(), always, v.warn) }()
		go func() { _ = other.Run(t.Context(), never, v.warn) }()
		time.Sleep(9 * time.Minute) // in fake time
		synctest.Wait()
		if granted, _, _ := v.reported(); granted != 1 || leader.bearerToken() != other.bearerToken() {
			t.Errorf("%d tokens were granted, want one that both use", granted)
		}
	})
}

// notRenewed returns a credential whose renewal has been refused for a minute.
func notRenewed(t *testing.T) (*vault, *Credential) {
	t.Helper()
	v := newVault(10 * time.Minute)
	v.answer(errors.New("no"))
	c := v.open(t)
	go func() { _ = c.Run(t.Context(), always, v.warn) }()
	time.Sleep(9 * time.Minute) // in fake time
	synctest.Wait()
	return v, c
}

// A failed renewal is reported at once, and retried until it succeeds. No report
// contains a token.
func TestCredentialNotRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v, c := notRenewed(t)
		if _, warnings, _ := v.reported(); c.Problem() == nil || len(warnings) != 1 || !strings.Contains(warnings[0], "it expires in") {
			t.Errorf("failure %v, warnings %q: want one that says when the credential expires", c.Problem(), warnings)
		}
		v.answer(nil)
		time.Sleep(time.Minute) // in fake time
		synctest.Wait()
		granted, warnings, log := v.reported()
		if granted != 1 || c.Problem() != nil {
			t.Errorf("%d tokens were granted, failure %v: want the renewal to succeed in the end", granted, c.Problem())
		}
		for _, text := range append(warnings, log) {
			if strings.Contains(text, "h.ey") {
				t.Errorf("a token is told: %s", text)
			}
		}
	})
}

// After a single failed read of the Secret, the node reported for most of a day
// that its credential is not renewed.
func TestCredentialUnreadable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVault(24 * time.Hour)
		c := v.open(t)
		var unreachable atomic.Bool
		v.home.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
			return unreachable.Load(), nil, errors.New("no route")
		})
		go func() { _ = c.Run(t.Context(), always, v.warn) }()
		state := func(after time.Duration, want string, warnings int) {
			t.Helper()
			time.Sleep(after) // in fake time
			synctest.Wait()
			got := ""
			if err := c.Problem(); err != nil {
				got = err.Error()
			}
			if _, reported, _ := v.reported(); got != want || len(reported) != warnings {
				t.Errorf("failure %q, %d warnings; want %q and %d", got, len(reported), want, warnings)
			}
		}
		const failure = "read secret actual-system/ak: no route"
		unreachable.Store(true)
		state(20*time.Second, "", 0) // one read failed
		unreachable.Store(false)
		state(20*time.Second, "", 0)
		unreachable.Store(true)
		state(2*time.Minute, failure, 1)
		state(time.Hour, failure, 2) // events live for an hour
		unreachable.Store(false)
		state(20*time.Second, "", 2)
	})
}

// If an operator rotates the token after a failed renewal, the problem is fixed.
// If an operator stores an invalid value, akd reports it.
func TestCredentialProblemEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v, c := notRenewed(t)
		if c.Problem() == nil {
			t.Fatal("the renewal did not fail")
		}
		v.store(t, kubeconfig("https://remote", jwt(7, time.Now(), time.Hour)))
		time.Sleep(20 * time.Second) // in fake time
		synctest.Wait()
		if err := c.Problem(); err != nil {
			t.Errorf("the token was rotated, and the node still says %v", err)
		}
		good := string(v.stored(t).Data[secretKey])
		v.store(t, "not a kubeconfig: [")
		time.Sleep(10 * time.Minute) // in fake time
		synctest.Wait()
		_, warnings, _ := v.reported()
		if err := c.Problem(); err == nil || !strings.Contains(err.Error(), "is not a kubeconfig") || len(warnings) != 2 {
			t.Errorf("failure %v, warnings %q: want both to say once that the Secret cannot be used", err, warnings)
		}
		v.store(t, good)
		time.Sleep(20 * time.Second) // in fake time
		synctest.Wait()
		if err := c.Problem(); err != nil {
			t.Errorf("the Secret is as it was, and the node still says %v", err)
		}
	})
}

// The next request of the same client uses a token that someone else stored.
func TestCredentialIsAdopted(t *testing.T) {
	t.Parallel()
	v := newVault(time.Hour)
	c := v.open(t)
	first := c.bearerToken()
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	transport, err := rest.TransportFor(c.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	request := func() {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
	request()
	if len(c.rejected) != 0 {
		t.Error("a request went well, and akd looks for another token")
	}
	rotated := jwt(7, time.Now(), time.Hour)
	v.store(t, kubeconfig("https://remote", rotated))
	if err := c.step(t.Context(), false, v.warn); err != nil {
		t.Fatal(err)
	}
	request()
	if diff := cmp.Diff([]string{"Bearer " + first, "Bearer " + rotated}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	v.store(t, "not a kubeconfig: [")
	if err := c.step(t.Context(), false, v.warn); err != nil || c.bearerToken() != rotated {
		t.Errorf("what cannot be used replaced what can, err %v", err)
	}
	v.store(t, kubeconfig("https://elsewhere", rotated))
	if err := c.step(t.Context(), false, v.warn); err == nil || !strings.Contains(err.Error(), "akd exits") {
		t.Errorf("the credential leads elsewhere, and akd goes on: %v", err)
	}
}

// If all tokens are revoked and a new one is stored, akd does not wait for its
// next check.
func TestCredentialIsRejected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVault(time.Hour)
		c := v.open(t)
		go func() { _ = c.Run(t.Context(), always, v.warn) }()
		next := jwt(7, time.Now(), time.Hour)
		wire := &bearer{credential: c, next: roundTrip(func(req *http.Request) *http.Response {
			code := http.StatusUnauthorized
			if req.Header.Get("Authorization") == "Bearer "+next {
				code = http.StatusOK
			}
			return &http.Response{StatusCode: code, Body: http.NoBody}
		})}
		request := func() int {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://remote/", http.NoBody)
			res, err := wire.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			return res.StatusCode
		}
		v.store(t, kubeconfig("https://remote", next))
		for range 3 {
			if got := request(); got != http.StatusUnauthorized {
				t.Errorf("the former token got %d", got)
			}
		}
		time.Sleep(2 * time.Second) // in fake time
		synctest.Wait()
		if got := request(); got != http.StatusOK {
			t.Errorf("two seconds later the answer is %d", got)
		}
	})
}

type roundTrip func(*http.Request) *http.Response

// RoundTrip implements http.RoundTripper.
func (r roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return r(req), nil }

// A kubeconfig in a Secret reads no file and runs no program.
func TestCredentialIsSelfContained(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason, content, want string
	}{
		"empty":    {"a Secret without the key", "", "has no key kubeconfig"},
		"nonsense": {"something else", "a: [", "is not a kubeconfig"},
		"exec": {
			"a program would run in akd's pod",
			kubeconfigUser("exec: {apiVersion: client.authentication.k8s.io/v1, command: evil, interactiveMode: Never}"),
			"it names a program",
		},
		"token file": {"a file of akd's pod would be sent to the server", kubeconfigUser("tokenFile: /etc/passwd"), "it names a file"},
		"key file":   {"likewise", kubeconfigUser("client-certificate: /a, client-key: /b"), "it names a file"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVault(time.Hour)
			v.store(t, tc.content)
			_, err := New(t.Context(), v.config())
			if _, invalid := errors.AsType[*InvalidError](err); !invalid || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want one that says %q", tc.reason, err, tc.want)
			}
		})
	}
}

func kubeconfigUser(user string) string {
	return strings.Replace(kubeconfig("https://remote", "x"), "{token: x}", "{"+user+"}", 1)
}

// After the cluster with the Secret was restored from a backup, the Secret holds an
// expired token. akd used to take it for the one that it had, and was locked out.
func TestExpiredTokenIsNotAdopted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVault(time.Hour)
		backup := v.stored(t)
		c := v.open(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx, always, v.warn) }()
		time.Sleep(100 * time.Minute) // in fake time
		v.store(t, string(backup.Data[secretKey]))
		granted, _, _ := v.reported()
		time.Sleep(time.Minute) // in fake time
		if left := time.Until(c.Expires()); left < 50*time.Minute {
			t.Errorf("the token in use expires in %s", left)
		}
		if now, _, _ := v.reported(); now != granted+1 {
			t.Errorf("%d tokens were requested, want 1", now-granted)
		}
		if bytes.Equal(v.stored(t).Data[secretKey], backup.Data[secretKey]) {
			t.Error("the expired token is still stored")
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
