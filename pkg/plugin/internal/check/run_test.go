package check

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// returns is a check that ends with a finding.
func returns(id string, finding Finding, needs ...string) Check {
	return Check{
		ID:      id,
		Title:   id + " holds",
		Needs:   needs,
		examine: func(context.Context, *Subject) Finding { return finding },
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	categories := []Category{
		{"First", []Check{
			returns("good", ok("as expected")),
			returns("bad", failed("upgrade the local cluster first", "it is old")),
			returns("odd", warning("", "it is new")),
		}},
		{"Second", []Check{
			returns("after-good", ok(""), "good", "odd"),
			returns("after-bad", ok(""), "good", "bad"),
			returns("after-skipped", ok(""), "after-bad"),
			returns("unclear", unknown(errors.New("no answer"))),
		}},
	}
	var live strings.Builder
	results := Run(t.Context(), categories, Subject{}, output.Plain(&live))
	want := `1. First
  ✓ good holds: as expected
  ✗ bad holds: it is old
      fix: upgrade the local cluster first
      see ` + docsPage + `bad
  ! odd holds: it is new
      see ` + docsPage + `odd

2. Second
  ✓ after-good holds
  - after-bad holds: skipped: it needs bad
  - after-skipped holds: skipped: it needs after-bad
  - unclear holds: skipped: no answer
`
	if diff := cmp.Diff(want, live.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("2 ok, 1 warning, 1 failed, 3 skipped", Tally(results)); diff != "" {
		t.Errorf("tally (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"bad"}, Failed(results)); diff != "" {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
	wantResult := Result{
		ID:            "bad",
		Category:      "First",
		Title:         "bad holds",
		Finding:       Finding{Level: LevelFailed, Found: "it is old", Fix: "upgrade the local cluster first"},
		Documentation: docsPage + "bad",
	}
	if diff := cmp.Diff(wantResult, results[1]); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

// What one check finds, the checks after it examine.
func TestRunFindsTheNode(t *testing.T) {
	t.Parallel()
	var examined string
	categories := []Category{{"Node", []Check{
		{ID: "find", Title: "found", find: func(context.Context, *Subject) (Node, Finding) { return Node{Name: "vk"}, ok("") }},
		{ID: "use", Title: "used", examine: func(_ context.Context, s *Subject) Finding {
			examined = s.Node.Name
			return ok("")
		}},
	}}}
	Run(t.Context(), categories, Subject{}, output.Plain(io.Discard))
	if examined != "vk" {
		t.Errorf("the second check examined node %q", examined)
	}
}

// A check is bounded by its own timeout, and an interrupt ends the run.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, runEnds)
}

func runEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var bounds []time.Duration
	bounded := func(ctx context.Context, _ *Subject) Finding {
		deadline, _ := ctx.Deadline()
		bounds = append(bounds, time.Until(deadline)) // in fake time
		return ok("")
	}
	categories := []Category{{"Time", []Check{
		{ID: "usual", Title: "usual", examine: bounded},
		{ID: "long", Title: "long", Timeout: time.Minute, examine: bounded},
		{ID: "last", Title: "last", examine: func(context.Context, *Subject) Finding {
			cancel()
			return ok("")
		}},
		returns("never", ok("")),
	}}}
	results := Run(ctx, categories, Subject{}, output.Plain(io.Discard))
	if diff := cmp.Diff([]time.Duration{defaultTimeout, time.Minute}, bounds); diff != "" {
		t.Errorf("timeouts (-want +got):\n%s", diff)
	}
	if len(results) != 3 {
		t.Errorf("%d checks were made, want 3: the run was interrupted", len(results))
	}
}

// Before install, only checks are made that need no node.
func TestEarlyOf(t *testing.T) {
	t.Parallel()
	early := returns("early", ok(""))
	early.Early = true
	got := earlyOf([]Category{{"Mixed", []Check{returns("late", ok("")), early}}, {"Late", []Check{returns("later", ok(""))}}})
	if len(got) != 1 || len(got[0].Checks) != 1 || got[0].Checks[0].ID != "early" {
		t.Errorf("got %+v", got)
	}
}
