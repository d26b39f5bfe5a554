package output

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Console is one output of a command, as a person reads it.
type Console struct {
	out   io.Writer
	clock clock.WithTicker
	width int // of the terminal; 0 if it is none
	marks map[Mark]string
}

func newConsole(out io.Writer, clock clock.WithTicker, width int, colored bool) *Console {
	return &Console{out: out, clock: clock, width: width, marks: marks(colored)}
}

// To returns a console that looks like this one and writes elsewhere.
func (c *Console) To(out io.Writer) *Console {
	other := *c
	other.out = out
	return &other
}

// Printf writes a text. Its arguments are data: each of them is Line.
func (c *Console) Printf(format string, args ...any) {
	data := make([]any, len(args))
	for i := range args {
		data[i] = inert{args[i]}
	}
	c.printf(format, data...)
}

// printf writes a text as it is.
func (c *Console) printf(format string, args ...any) { _, _ = fmt.Fprintf(c.out, format, args...) }

// Labeled writes a text of one or several lines, such as an error, after a label.
// Every line but the first is indented: it cannot look like one of the command's.
func (c *Console) Labeled(label, text string) {
	text = strings.ReplaceAll(Text(strings.TrimRight(text, "\n")), "\n", "\n  ")
	c.printf("%s: %s\n", label, text)
}

// Copy writes the text of a stream, each line as soon as it has been read.
func (c *Console) Copy(from io.Reader) error {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if _, err := io.WriteString(c.out, Text(line)); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Write implements io.Writer, for what programs read: it is written as it is.
func (c *Console) Write(p []byte) (int, error) { return c.out.Write(p) }

// Mark returns a mark in its color.
func (c *Console) Mark(mark Mark) string { return c.marks[mark] }

// Paragraph writes a text after a mark, if it has one, in as many lines as the
// terminal needs. All lines begin in the same column.
func (c *Console) Paragraph(indent int, mark Mark, text string) {
	first := strings.Repeat(" ", indent)
	rest := first
	if mark != "" {
		first += c.Mark(mark) + " "
		rest += "  "
	}
	width := 0
	if c.width > 0 {
		width = max(1, c.width-len(rest))
	}
	for i, line := range wrap(text, width, keepWords) {
		if i > 0 {
			first = rest
		}
		c.printf("%s%s\n", first, line)
	}
}

// Lines writes a text of one or several lines after a label. It breaks none: the
// terminal does, and a command that is copied from there stays in one piece.
func (c *Console) Lines(indent int, label, text string) {
	first := strings.Repeat(" ", indent) + label
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		c.printf("%s%s\n", first, Line(line))
		first = strings.Repeat(" ", indent+len(label))
	}
}

type progressKey struct{}

// Progress shows what a step waits for, if ctx is that of a step.
func Progress(ctx context.Context, seen string) {
	if show, ok := ctx.Value(progressKey{}).(func(string)); ok {
		show(seen)
	}
}

// WithSpinner runs do. On a terminal a line says meanwhile what is done, for how
// long, and the last that Progress was told.
func (c *Console) WithSpinner(ctx context.Context, what string, do func(context.Context)) {
	if c.width == 0 {
		do(ctx)
		return
	}
	s := &spinner{console: c, what: what, begin: c.clock.Now()}
	stop := s.start()
	do(context.WithValue(ctx, progressKey{}, s.see))
	stop()
}

// spinner is the line of a step that is under way.
type spinner struct {
	console *Console
	what    string
	begin   time.Time
	mutex   sync.Mutex
	seen    string
}

const spinnerInterval = time.Second / 10

// start writes the line again and again until stop is called, which removes it.
func (s *spinner) start() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	ticker := s.console.clock.NewTicker(spinnerInterval)
	go func() {
		defer close(ended)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C():
				s.write()
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		s.console.printf("\r\x1b[K")
	}
}

func (s *spinner) see(what string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.seen = what
}

func (s *spinner) write() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	text := fmt.Sprintf("… %s (%s)", s.what, s.console.clock.Since(s.begin).Truncate(spinnerInterval))
	if s.seen != "" {
		text += ": " + s.seen
	}
	s.console.printf("\r\x1b[K%s", cut(text, s.console.width-1))
}
