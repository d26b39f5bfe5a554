package credential

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// An API server that once granted less than was chosen was never asked for more again.
func TestChosenLifetime(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, tc := range map[string]struct {
		reason string
		chosen string // empty: the Secret does not say
		first  time.Duration
		want   time.Duration
		log    string
	}{
		"Longest":      {reason: "to survive an outage", chosen: "24h0m0s", first: day, want: day},
		"Shorter":      {reason: "a theft is worth less", chosen: "30m0s", first: 30 * time.Minute, want: 30 * time.Minute},
		"Once less":    {reason: "the API server's limit was raised", chosen: "20h0m0s", first: time.Hour, want: 20 * time.Hour},
		"Not chosen":   {reason: "as the token says", first: time.Hour, want: time.Hour},
		"To begin":     {reason: "nobody has chosen a long life", first: 365 * day, want: day},
		"Not a time":   {reason: "akd must not lose its credential", chosen: "7d", first: time.Hour, want: time.Hour, log: "7d"},
		"Too long":     {reason: "the policy of tokens denies it", chosen: "168h", first: time.Hour, want: time.Hour, log: "168h"},
		"Out of range": {reason: "nor renew in a loop", chosen: "1s", first: time.Hour, want: time.Hour, log: "1s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				v := newVault(tc.first)
				v.choose(t, tc.chosen)
				c := v.open(t)
				go func() { _ = c.Run(t.Context(), always, v.warn) }()
				first := c.Expires()
				for c.Expires().Equal(first) {
					time.Sleep(time.Minute) // in fake time
					synctest.Wait()
				}
				if got := time.Until(c.Expires()).Round(5 * time.Minute); got != tc.want {
					t.Errorf("%s: the next token is valid for %s, want %s", tc.reason, got, tc.want)
				}
				if got := v.stored(t).Annotations[contract.AnnotationTokenLifetime]; got != tc.chosen {
					t.Errorf("%s: the Secret says %q, want %q", tc.reason, got, tc.chosen)
				}
				if _, _, log := v.reported(); strings.Contains(log, "is not used") != (tc.log != "") || !strings.Contains(log, tc.log) {
					t.Errorf("%s: the log says %q", tc.reason, log)
				}
			})
		})
	}
}

// A token of a year, which somebody gave akd to begin with, was renewed after nine
// months: until then, it was as good for a thief.
func TestLongLifetimeEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVault(365 * 24 * time.Hour)
		c := v.open(t)
		go func() { _ = c.Run(t.Context(), always, v.warn) }()
		time.Sleep(25 * time.Hour) // in fake time
		synctest.Wait()
		if left := time.Until(c.Expires()); left > 24*time.Hour {
			t.Errorf("after a day the token has %s left", left)
		}
	})
}

func (v *vault) choose(t *testing.T, lifetime string) {
	t.Helper()
	secret := v.stored(t).DeepCopy()
	if secret.Annotations = nil; lifetime != "" {
		secret.Annotations = map[string]string{contract.AnnotationTokenLifetime: lifetime}
	}
	if _, err := v.home.CoreV1().Secrets("actual-system").Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}
