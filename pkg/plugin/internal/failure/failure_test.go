package failure_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
)

func TestHints(t *testing.T) {
	cause := failure.Hintf(errors.New("no context"), "name one with %s", "--context")
	cases := map[string]struct {
		reason string
		err    error
		text   string
		hints  []string
		usage  bool
	}{
		"None":  {reason: "most errors have none", err: errors.New("boom"), text: "boom"},
		"Plain": {reason: "the text is the error's", err: cause, text: "no context", hints: []string{"name one with --context"}},
		"Wrapped": {
			reason: "a wrapper keeps it",
			err:    fmt.Errorf("connect: %w", cause),
			text:   "connect: no context",
			hints:  []string{"name one with --context"},
		},
		"Outer": {
			reason: "the cause's hint comes first", err: failure.Hintf(fmt.Errorf("install: %w", cause), "run it again"),
			text: "install: no context", hints: []string{"name one with --context", "run it again"},
		},
		"Joined": {
			reason: "each hint is given once",
			err:    errors.Join(cause, cause),
			text:   "no context\nno context",
			hints:  []string{"name one with --context"},
		},
		"Usage": {
			reason: "a hint does not hide the kind",
			err:    failure.Hintf(failure.Usagef("bad flag"), "see --help"),
			text:   "bad flag",
			hints:  []string{"see --help"},
			usage:  true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.err.Error(); got != tc.text {
				t.Errorf("%s: text %q, want %q", tc.reason, got, tc.text)
			}
			if diff := cmp.Diff(tc.hints, failure.Hints(tc.err)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if got := failure.IsUsage(tc.err); got != tc.usage {
				t.Errorf("%s: a usage error: %t", tc.reason, got)
			}
		})
	}
}
