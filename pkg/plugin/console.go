package plugin

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

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

// style is how a user wants to be written to.
type style struct {
	mode  colorMode
	env   func(string) string
	clock clock.WithTicker
}

func newStyle(env func(string) string) *style {
	return &style{mode: colorAuto, env: env, clock: clock.RealClock{}}
}

func (s *style) addFlags(flags *pflag.FlagSet) {
	flags.Var(&s.mode, "color", "colors: auto (on a terminal, unless $NO_COLOR is set), always or never")
}

// console is one output of a command, as a person reads it.
type console struct {
	out   io.Writer
	clock clock.WithTicker
	marks map[string]string
	width int // of the terminal; 0 is none
}

// on returns the console of an output. https://no-color.org
func (s *style) on(out io.Writer) *console {
	c := &console{out: out, clock: s.clock, marks: map[string]string{}}
	if file, ok := out.(*os.File); ok && s.env("TERM") != "dumb" && term.IsTerminal(int(file.Fd())) {
		const usual = 80 // where a terminal does not say
		c.width = usual
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			c.width = width
		}
	}
	colored := s.mode == colorAlways || s.mode == colorAuto && c.width > 0 && s.env("NO_COLOR") == ""
	for mark, attribute := range map[string]color.Attribute{"✓": color.FgGreen, "✗": color.FgRed, "!": color.FgYellow, "-": color.Faint} {
		paint := color.New(attribute)
		if colored {
			paint.EnableColor()
		} else {
			paint.DisableColor()
		}
		c.marks[mark] = paint.Sprint(mark)
	}
	return c
}

// mark is a mark in its color.
func (c *console) mark(mark string) string { return c.marks[mark] }

type seenKey struct{}

// saw tells the line of the step that ctx belongs to, if any, what it waits for.
func saw(ctx context.Context, what string) {
	if tell, ok := ctx.Value(seenKey{}).(func(string)); ok {
		tell(what)
	}
}

// while does something for which a line stands on a terminal meanwhile: what,
// how long it has taken, and what was last seen.
func (c *console) while(ctx context.Context, what string, do func(context.Context)) {
	if c.width == 0 {
		do(ctx)
		return
	}
	const interval = time.Second / 10
	var mutex sync.Mutex
	seen, begin := "", c.clock.Now()
	line := func() {
		mutex.Lock()
		defer mutex.Unlock()
		text := fmt.Sprintf("… %s (%s)", what, c.clock.Since(begin).Truncate(interval))
		if seen != "" {
			text += ": " + seen
		}
		printf(c.out, "\r\x1b[K%s", cut(text, c.width-1))
	}
	done, ended := make(chan struct{}), make(chan struct{})
	ticker := c.clock.NewTicker(interval)
	go func() {
		defer close(ended)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C():
				line()
			}
		}
	}()
	do(context.WithValue(ctx, seenKey{}, func(what string) {
		mutex.Lock()
		defer mutex.Unlock()
		seen = what
	}))
	close(done)
	<-ended
	printf(c.out, "\r\x1b[K")
}

// paragraph writes a text whose first line has a mark before it, in as many
// lines as a terminal needs; those after the first one are indented like it.
func (c *console) paragraph(indent int, mark, text string) {
	space := strings.Repeat(" ", indent)
	printf(c.out, "%s", space)
	if mark != "" {
		printf(c.out, "%s ", c.mark(mark))
		space += "  "
	}
	column := len(space)
	for i, word := range strings.Fields(text) {
		length := len([]rune(word))
		switch {
		case i == 0:
		case c.width > 0 && column+1+length > c.width:
			printf(c.out, "\n%s", space)
			column = len(space)
		default:
			printf(c.out, " ")
			column++
		}
		printf(c.out, "%s", word)
		column += length
	}
	printf(c.out, "\n")
}

// cut shortens a text to what a line has room for.
func cut(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	return string(runes[:max(0, width-1)]) + "…"
}
