package podsync_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var plant = flag.Uint64("plant", 0, "number of histories in which TestPlantedFaults looks for each fault; 0 for none")

// separator is the line between the code that a planted fault replaces and the fault.
const separator = "=======\n"

// TestPlantedFaults is the test of TestHistories: each file of testdata/planted is a
// fault that histories must find. Without -plant, it only tests that the faults fit the
// code.
func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/planted/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no faults: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			overlay := plantFault(t, file)
			if *plant > 0 {
				findFault(t, overlay)
			}
		})
	}
}

// plantFault returns an overlay for go build with the fault.
func plantFault(t *testing.T, file string) (overlay string) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	replaced := map[string]string{}
	for i, fault := range archive.Files {
		path, err := filepath.Abs(filepath.Join("..", "..", "..", "..", fault.Name))
		if err != nil {
			t.Fatal(err)
		}
		code, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before, after, _ := bytes.Cut(bytes.TrimSuffix(fault.Data, []byte("\n")), []byte(separator))
		before = bytes.TrimSuffix(before, []byte("\n"))
		if count := bytes.Count(code, before); count != 1 {
			t.Fatalf("%s has the code that is replaced %d times, want once", fault.Name, count)
		}
		replaced[path] = filepath.Join(directory, fmt.Sprint(i, ".go"))
		if err := os.WriteFile(replaced[path], bytes.Replace(code, before, after, 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	content, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	overlay = filepath.Join(directory, "overlay.json")
	if err := os.WriteFile(overlay, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}

var foundBy = regexp.MustCompile(`seed (\d+): (.*)`)

func findFault(t *testing.T, overlay string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-timeout=0", "-overlay", overlay, "-run=^TestHistories$", ".",
		"-args", "-first", "-seed", fmt.Sprint(*firstSeed), "-seeds", fmt.Sprint(*plant))
	out, err := command.CombinedOutput()
	found := foundBy.FindSubmatch(out)
	switch {
	case found != nil:
		t.Logf("found by seed %s: %s", found[1], found[2])
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	default:
		t.Errorf("not found by %d histories", *plant)
	}
}
