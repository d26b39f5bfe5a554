package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// table is a Markdown table.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) String() string {
	var text strings.Builder
	line := func(cells []string) { fmt.Fprintf(&text, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.head)
	rule := make([]string, len(t.head))
	for i := range rule {
		rule[i] = "---:"
	}
	rule[0] = "---"
	line(rule)
	for _, row := range t.rows {
		line(row)
	}
	return text.String()
}

// goal says whether a figure is what it should be.
func goal(name string, met bool, figure string) string {
	if met {
		return fmt.Sprintf("- met: %s (%s)\n", name, figure)
	}
	return fmt.Sprintf("- **not met**: %s: %s\n", name, figure)
}

// replaceSection puts a measurement's text between its two marks on the page.
func replaceSection(page, section, text string) error {
	content, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("page of results: %w", err)
	}
	begin, end := fmt.Sprintf("<!-- begin %s -->\n", section), fmt.Sprintf("<!-- end %s -->", section)
	before, rest, found := strings.Cut(string(content), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return fmt.Errorf("page of results %s: it lacks the lines %q and %q", page, strings.TrimSpace(begin), end)
	}
	next, err := os.CreateTemp(filepath.Dir(page), ".page-*")
	if err != nil {
		return fmt.Errorf("page of results: %w", err)
	}
	defer func() { _ = os.Remove(next.Name()) }()
	if _, err := next.WriteString(before + begin + text + "\n" + end + after); err != nil {
		_ = next.Close()
		return fmt.Errorf("page of results: %w", err)
	}
	if err := next.Close(); err != nil {
		return fmt.Errorf("page of results: %w", err)
	}
	if err := os.Chmod(next.Name(), 0o644); err != nil {
		return fmt.Errorf("page of results: %w", err)
	}
	return os.Rename(next.Name(), page)
}
