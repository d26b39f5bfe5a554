//go:build e2e

package main

import (
	"bytes"
	"path/filepath"
	"testing"
)

// TestSlice runs the slice of Kubernetes' own tests through AK, on clusters of
// its own. Specs that fail there run directly as well: a difference fails the
// test.
func TestSlice(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(root, "bin")
	var out bytes.Buffer
	cmd := command()
	cmd.SetOut(&out)
	cmd.SetErr(t.Output())
	cmd.SetArgs([]string{
		"--suite", suiteSlice, "--procs", "8",
		"--clusters", filepath.Join(bin, "clusters"), "--akd", filepath.Join(bin, "akd-race"),
		"--dir", filepath.Join(root, ".clusters-slice"), "--out", filepath.Join(root, "dist", "slice"),
	})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}
