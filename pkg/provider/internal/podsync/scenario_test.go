package podsync_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/podsync/scenario"
)

var update = flag.Bool("update", false, "write what the scenarios gave into their files; then read the difference")

// TestScenarios plays the scripts of testdata/scenarios against the real loops
// and two fake API servers, in fake time. A script reads like the lifecycle
// table; its want section is the resulting content of both clusters.
func TestScenarios(t *testing.T) {
	quiet(t)
	files, err := filepath.Glob("testdata/scenarios/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			synctest.Test(t, func(t *testing.T) { got = scenario.Play(t, archive) })
			if *update {
				setFile(archive, "want", got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(scenario.Section(archive, "want"), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func setFile(archive *txtar.Archive, name, content string) {
	for i := range archive.Files {
		if archive.Files[i].Name == name {
			archive.Files[i].Data = []byte(content)
			return
		}
	}
	archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(content)})
}
