package output

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Line returns a text as one line that does nothing to a terminal but fill it.
// Names, messages and annotations in a cluster come from its users: an escape
// sequence in one could rewrite what a terminal already shows, a line break could
// forge a line of a command, and a bidirectional control could reorder one.
// Escapes look as in kubectl, whose own cover fewer characters.
// https://github.com/kubernetes/kubernetes/issues/101695
func Line(text string) string {
	return escape(text, func(r rune) rune {
		if r != '\r' && unicode.IsSpace(r) {
			return ' '
		}
		return r
	})
}

// Text is Line for a text of several lines: it keeps line breaks and tabs.
func Text(text string) string { return escape(text, func(r rune) rune { return r }) }

// escape replaces what a terminal may obey. It maps each character first.
func escape(text string, mapped func(rune) rune) string {
	var escaped strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && size == 1 {
			_, _ = fmt.Fprintf(&escaped, `\x%02x`, text[0]) // 9b alone is an escape in some terminals
		} else {
			writeEscaped(&escaped, mapped(r))
		}
		text = text[size:]
	}
	return escaped.String()
}

func writeEscaped(to *strings.Builder, r rune) {
	const esc = '\x1b'
	switch {
	case r == '\n' || r == '\t' || unicode.IsGraphic(r):
		to.WriteRune(r)
	case r == esc:
		to.WriteString("^[")
	case r == '\r':
		to.WriteString(`\r`)
	default:
		to.WriteString(escapeRune(r))
	}
}

// escapeRune returns a character as JSON escapes it: a log in JSON stays JSON.
func escapeRune(r rune) string {
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		return fmt.Sprintf(`\u%04x\u%04x`, high, low)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// inert is an argument of Printf that is one line, whatever its text is.
type inert struct{ value any }

// Format implements fmt.Formatter.
func (i inert) Format(to fmt.State, verb rune) {
	_, _ = fmt.Fprint(to, Line(fmt.Sprintf(fmt.FormatString(to, verb), i.value)))
}
