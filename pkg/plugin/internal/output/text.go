package output

import (
	"strings"
	"unicode/utf8"

	"github.com/olekukonko/tablewriter/pkg/twwidth"
)

// wrapping says what becomes of a word that is longer than a line.
type wrapping bool

const (
	keepWords  wrapping = false // it stands out
	breakWords wrapping = true  // it goes on in the next line
)

// wrap breaks a text into lines of at most so many columns; 0 is no limit.
func wrap(text string, width int, words wrapping) []string {
	text = Line(text)
	if width <= 0 || twwidth.Width(text) <= width {
		return []string{text}
	}
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case twwidth.Width(line)+1+twwidth.Width(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
		for words == breakWords && twwidth.Width(line) > width {
			head := prefix(line, width)
			lines, line = append(lines, head), line[len(head):]
		}
	}
	return append(lines, line)
}

// prefix is as much of a text as so many columns hold, and one letter at least.
func prefix(text string, width int) string {
	end := 0
	for i, letter := range text {
		next := i + utf8.RuneLen(letter)
		if end > 0 && twwidth.Width(text[:next]) > width {
			break
		}
		end = next
	}
	return text[:end]
}

// cut shortens a text to a line of so many columns.
func cut(text string, width int) string {
	text = Line(text)
	if twwidth.Width(text) <= width {
		return text
	}
	return twwidth.Truncate(text, max(0, width), "…")
}
