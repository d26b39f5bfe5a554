package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each version of Go may read the clock in another way.
func TestShiftedTime(t *testing.T) {
	t.Parallel()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	changed, err := shiftedTime(string(source))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(changed, "mono := shiftedNow()") {
		t.Error("Now does not call shiftedNow")
	}
	if _, err := shiftedTime(changed); err == nil {
		t.Error("the change can be made twice")
	}
}
