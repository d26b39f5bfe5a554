package provider

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// akd used to end with an error if a cluster did not answer when it started, or
// did not accept its credential: a kubelet then waited longer and longer before it
// started akd again.
func TestStartWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began, attempts, events, marks := time.Now(), 0, 0, 0
		warn := func(_ context.Context, _, message string) {
			if events++; !strings.Contains(message, "rotate") {
				t.Errorf("the event says %q", message)
			}
		}
		mark := func(_ context.Context, reason, message string) {
			if marks++; reason != "CredentialRejected" || !strings.Contains(message, "rotate") {
				t.Errorf("the node says %s: %q", reason, message)
			}
		}
		s := newTestStarter(func(context.Context) (*akd, error) {
			attempts++
			switch waited := time.Since(began); {
			case waited < time.Minute:
				return nil, errors.New("connection refused")
			case waited < 3*time.Hour:
				return nil, &rejectedError{err: errors.New("rejected: run kubectl actual token rotate"), warn: warn, mark: mark}
			}
			return &akd{leadership: onlyOne{}}, nil
		})
		done := make(chan error, 1)
		go func() {
			_, err := s.start(t.Context())
			done <- err
		}()
		time.Sleep(30 * time.Second) // in fake time
		if err := s.check(t.Context()); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("akd is ready: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("akd did not start: %v", err)
		}
		if err := s.check(t.Context()); err != nil {
			t.Errorf("akd is not ready: %v", err)
		}
		if waited := time.Since(began); waited > 3*time.Hour+time.Minute {
			t.Errorf("akd started %s after it could", waited-3*time.Hour)
		}
		if events != 3 {
			t.Errorf("%d events in three hours, want 3", events)
		}
		if marks < 3*60*60/40 {
			t.Errorf("the node said so %d times in three hours: a cluster forgets it after 40 s", marks)
		}
		if attempts > 3*60*60/10 {
			t.Errorf("%d attempts in three hours", attempts)
		}
	})
}

// Before the first attempt has ended there is no failure to tell: the readiness check
// said "%!w(<nil>)".
func TestStartChecksBeforeFailing(t *testing.T) {
	t.Parallel()
	s := newTestStarter(nil)
	if err := s.check(t.Context()); err == nil || err.Error() != errStarting.Error() {
		t.Errorf("the readiness check says %v, want %v", err, errStarting)
	}
}

// A mistake of the user's ends akd at once.
func TestStartRefusesMistakes(t *testing.T) {
	t.Parallel()
	s := newTestStarter(func(context.Context) (*akd, error) { return nil, usagef("no such context") })
	if _, err := s.start(t.Context()); err == nil || err.Error() != "no such context" {
		t.Errorf("ended with %v", err)
	}
}

func newTestStarter(assemble func(context.Context) (*akd, error)) *starter {
	return &starter{
		cfg:      &config.Configuration{NodeName: "ak"},
		clock:    clock.RealClock{},
		logger:   slog.New(slog.DiscardHandler),
		assemble: assemble,
	}
}

// What the fence refuses never reaches the server: an akd whose process was
// suspended for longer than its lease must not write when it goes on.
func TestFence(t *testing.T) {
	t.Parallel()
	var reached []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached = append(reached, r.Method) }))
	defer server.Close()
	leads := false
	client := &http.Client{Transport: &fence{next: http.DefaultTransport, leads: func() bool { return leads }}}
	for _, step := range []struct {
		leads  bool
		method string
		want   error
	}{
		{leads: true, method: http.MethodDelete},
		{leads: false, method: http.MethodGet},
		{leads: false, method: http.MethodPost, want: errFenced},
		{leads: false, method: http.MethodPatch, want: errFenced},
		{leads: false, method: http.MethodDelete, want: errFenced},
	} {
		leads = step.leads
		request, err := http.NewRequestWithContext(t.Context(), step.method, server.URL, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err == nil {
			_ = response.Body.Close()
		}
		if !errors.Is(err, step.want) {
			t.Errorf("%s while akd leads is %t: %v, want %v", step.method, step.leads, err, step.want)
		}
	}
	if got := strings.Join(reached, " "); got != "DELETE GET" {
		t.Errorf("the server got %q, want DELETE GET", got)
	}
}
