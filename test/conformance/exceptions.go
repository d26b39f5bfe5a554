package main

import (
	_ "embed"
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

//go:generate go run . --write-page ../../docs/conformance.md

//go:embed exceptions.yaml
var exceptionsFile []byte

// introduction is all of docs/conformance.md but the exceptions.
//
//go:embed page.md
var introduction string

// exception is a spec that no pod can pass if another cluster runs it. A spec
// that fails because something is not implemented yet is not an exception.
type exception struct {
	Title   string `json:"title"` // of its section on the page
	Spec    string `json:"spec"`
	Reason  string `json:"reason"`  // why it cannot pass, in principle
	Instead string `json:"instead"` // what the user gets instead
}

func readExceptions() ([]exception, error) {
	var all []exception
	if err := yaml.UnmarshalStrict(exceptionsFile, &all); err != nil {
		return nil, fmt.Errorf("read exceptions.yaml: %w", err)
	}
	for _, e := range all {
		if e.Title == "" || e.Spec == "" || e.Reason == "" || e.Instead == "" {
			return nil, fmt.Errorf("read exceptions.yaml: %q needs a title, spec, reason and instead", e.Spec)
		}
	}
	return all, nil
}

// writePage writes docs/conformance.md.
func writePage(file string) error {
	all, err := readExceptions()
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(introduction)
	if len(all) == 0 {
		b.WriteString("None.\n")
	}
	for i, e := range all {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "### %s\n\n", e.Title)
		for _, item := range []string{"Spec: " + e.Spec, "Why: " + e.Reason, "Instead: " + e.Instead} {
			b.WriteString(listItem(item))
		}
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil { //nolint:gosec // a page of the manual
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// listItem is an item of a Markdown list, broken into lines of the width that
// all of the manual's pages keep.
func listItem(text string) string {
	const width = 140
	lines, line := "", "-"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			lines, line = lines+line+"\n", " "
		}
		line += " " + word
	}
	return lines + line + "\n"
}
