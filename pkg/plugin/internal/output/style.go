package output

import (
	"fmt"
	"io"
	"os"

	"github.com/fatih/color"
	"github.com/spf13/pflag"
	"golang.org/x/term"
	"k8s.io/utils/clock"
)

// colorMode is when output has colors: auto is on a terminal.
type colorMode string

// Modes of --color.
const (
	colorAuto   colorMode = "auto"
	colorAlways colorMode = "always"
	colorNever  colorMode = "never"
)

var _ pflag.Value = new(colorMode)

// String implements pflag.Value.
func (m *colorMode) String() string { return string(*m) }

// Type implements pflag.Value.
func (m *colorMode) Type() string { return "string" }

// Set implements pflag.Value.
func (m *colorMode) Set(value string) error {
	switch mode := colorMode(value); mode {
	case colorAuto, colorAlways, colorNever:
		*m = mode
		return nil
	}
	return fmt.Errorf("want %s, %s or %s", colorAuto, colorAlways, colorNever)
}

// Style is how a user wants output to look.
type Style struct {
	mode  colorMode
	env   func(string) string
	clock clock.WithTicker
}

// NewStyle returns the default style. env is where $NO_COLOR and $TERM are
// looked up.
func NewStyle(env func(string) string, clock clock.WithTicker) *Style {
	return &Style{mode: colorAuto, env: env, clock: clock}
}

// AddFlags adds --color.
func (s *Style) AddFlags(flags *pflag.FlagSet) {
	flags.Var(&s.mode, "color", "when to use colors: auto (on a terminal, unless $NO_COLOR is set), always or never")
}

// On returns the console of an output. https://no-color.org
func (s *Style) On(out io.Writer) *Console {
	width := 0
	if s.env("TERM") != "dumb" {
		width = terminalWidth(out)
	}
	colored := s.mode == colorAlways || s.mode == colorAuto && width > 0 && s.env("NO_COLOR") == ""
	return newConsole(out, s.clock, width, colored)
}

// Plain returns a console without colors and without a width.
func Plain(out io.Writer) *Console { return newConsole(out, clock.RealClock{}, 0, false) }

// terminalWidth is the number of a terminal's columns, or 0 of anything else.
func terminalWidth(out io.Writer) int {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return 0
	}
	const usual = 80 // if the terminal does not say
	if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
		return width
	}
	return usual
}

// Mark begins a line, and says how what follows ended.
type Mark string

// The marks.
const (
	MarkOK      Mark = "✓"
	MarkFailed  Mark = "✗"
	MarkWarning Mark = "!"
	MarkSkipped Mark = "-"
)

// marks returns each mark in its color, or without.
func marks(colored bool) map[Mark]string {
	painted := map[Mark]string{}
	for mark, attribute := range map[Mark]color.Attribute{
		MarkOK:      color.FgGreen,
		MarkFailed:  color.FgRed,
		MarkWarning: color.FgYellow,
		MarkSkipped: color.Faint,
	} {
		paint := color.New(attribute)
		if colored {
			paint.EnableColor()
		} else {
			paint.DisableColor()
		}
		painted[mark] = paint.Sprint(mark)
	}
	return painted
}
