package scenario

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/actual-kubelets/actual-kubelets/test/answers"
)

// The fake servers answer as a real API server does. What that one answers is recorded by
// the end-to-end test TestAnswers.
func TestAnswers(t *testing.T) {
	t.Parallel()
	archive, err := txtar.ParseFile("../testdata/answers.txtar")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		got, err := answers.Play(t.Context(), newFakeServer("fake").link().client, string(archive.Comment), func() error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(Section(archive, "want"), "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("(-real +fake):\n%s", diff)
		}
	})
}
