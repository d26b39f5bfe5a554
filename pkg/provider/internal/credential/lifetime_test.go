package credential

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// A renewal requested a day at most, whatever was chosen, and an API server that
// once granted less was never asked for more again.
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
		"Longer":       {reason: "to survive an outage", chosen: "168h0m0s", first: 7 * day, want: 7 * day},
		"Shorter":      {reason: "a theft is worth less", chosen: "30m0s", first: 30 * time.Minute, want: 30 * time.Minute},
		"Once less":    {reason: "the API server's limit was raised", chosen: "168h0m0s", first: time.Hour, want: 7 * day},
		"Not chosen":   {reason: "as the token says", first: time.Hour, want: time.Hour},
		"To begin":     {reason: "nobody has chosen a long life", first: 365 * day, want: day},
		"Not a time":   {reason: "akd must not lose its credential", chosen: "7d", first: time.Hour, want: time.Hour, log: "7d"},
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

// A token of a week was renewed after five and a half days: an akd that stopped just
// before had less than two days left.
func TestLongLifetimeIsRenewedDaily(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const week = 7 * 24 * time.Hour
		v := newVault(week)
		v.choose(t, week.String())
		c := v.open(t)
		go func() { _ = c.Run(t.Context(), always, v.warn) }()
		for range 3 * 24 {
			time.Sleep(time.Hour) // in fake time
			if left := time.Until(c.Expires()); left < week-25*time.Hour {
				t.Fatalf("the token has only %s left", left)
			}
		}
		synctest.Wait()
		if granted, _, _ := v.reported(); granted != 3 {
			t.Errorf("%d tokens were requested in 3 days, want 3", granted)
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
