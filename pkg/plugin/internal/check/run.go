package check

import (
	"context"
	"fmt"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// Run makes checks in their order, and shows each outcome on a console. It ends
// early when ctx does.
func Run(ctx context.Context, categories []Category, subject Subject, live *output.Console) []Result {
	r := &run{subject: subject, passed: map[string]bool{}, live: live}
	r.all(ctx, categories)
	return r.results
}

// run is a run of checks.
type run struct {
	subject Subject
	passed  map[string]bool // by ID
	results []Result
	live    *output.Console
}

func (r *run) all(ctx context.Context, categories []Category) {
	for i, category := range categories {
		if i > 0 {
			r.live.Printf("\n")
		}
		r.live.Printf("%d. %s\n", i+1, category.Name)
		for c := range category.Checks {
			if ctx.Err() != nil {
				return
			}
			check := &category.Checks[c]
			result := Result{
				ID:            check.ID,
				Category:      category.Name,
				Title:         check.Title,
				Documentation: docsPage + check.ID,
			}
			r.live.WithSpinner(ctx, check.Title, func(ctx context.Context) { result.Finding = r.one(ctx, check) })
			r.passed[check.ID] = result.passed()
			r.results = append(r.results, result)
			show(r.live, &result)
		}
	}
}

// one makes one check if those that it needs have passed.
func (r *run) one(ctx context.Context, check *Check) Finding {
	for _, need := range check.Needs {
		if !r.passed[need] {
			return skipped("it needs %s", need)
		}
	}
	timeout := defaultTimeout
	if check.Timeout > 0 {
		timeout = check.Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if check.find == nil {
		return check.examine(ctx, &r.subject)
	}
	node, finding := check.find(ctx, &r.subject)
	r.subject.Node = node
	return finding
}

// show writes an outcome for people.
func show(to *output.Console, result *Result) {
	mark, note := output.MarkOK, ""
	switch result.Level {
	case LevelOK:
	case LevelWarning:
		mark = output.MarkWarning
	case LevelFailed:
		mark = output.MarkFailed
	case LevelSkipped:
		mark, note = output.MarkSkipped, "skipped: "
	}
	text := result.Title
	if result.Found != "" {
		text += ": " + note + result.Found
	}
	to.Paragraph(2, mark, text)
	if result.Level != LevelWarning && result.Level != LevelFailed {
		return
	}
	if result.Fix != "" {
		to.Lines(6, "fix: ", result.Fix)
	}
	to.Paragraph(6, "", "see "+result.Documentation)
}

// Tally counts the outcomes, as in "3 ok, 1 warning, 0 failed, 2 skipped".
func Tally(results []Result) string {
	count := map[Level]int{}
	for i := range results {
		count[results[i].Level]++
	}
	warnings := "warnings"
	if count[LevelWarning] == 1 {
		warnings = "warning"
	}
	return fmt.Sprintf("%d ok, %d %s, %d failed, %d skipped",
		count[LevelOK], count[LevelWarning], warnings, count[LevelFailed], count[LevelSkipped])
}

// Failed returns the IDs of the checks that failed.
func Failed(results []Result) []string {
	var ids []string
	for i := range results {
		if results[i].Level == LevelFailed {
			ids = append(ids, results[i].ID)
		}
	}
	return ids
}
