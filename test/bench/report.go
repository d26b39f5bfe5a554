package main

import (
	"fmt"
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

// goal says whether a figure meets its goal.
func goal(name string, met bool, figure string) string {
	if met {
		return fmt.Sprintf("- met: %s (%s)\n", name, figure)
	}
	return fmt.Sprintf("- **not met**: %s: %s\n", name, figure)
}
