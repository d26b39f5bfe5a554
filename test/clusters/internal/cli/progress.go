package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress shows the current step: on a terminal as one line that changes,
// otherwise as a line per step.
type progress struct {
	out      io.Writer
	terminal bool
	now      func() time.Time
	began    time.Time

	mu   sync.Mutex
	last time.Time
}

func newProgress(out *os.File, now func() time.Time) *progress {
	return &progress{out: out, terminal: term.IsTerminal(int(out.Fd())), now: now, began: now()}
}

func (p *progress) elapsed() string {
	return fmt.Sprintf("%5.1fs", p.now().Sub(p.began).Seconds())
}

// step begins something new.
func (p *progress) step(format string, args ...any) {
	p.print(fmt.Sprintf(format, args...), true)
}

// quiet is the time after which a step without a terminal shows a sign of life.
const quiet = 30 * time.Second

// update shows more about the current step.
func (p *progress) update(text string) { p.print(text, false) }

func (p *progress) print(text string, step bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.terminal:
		// Carriage return, text, erase to the end of the line.
		fmt.Fprintf(p.out, "\r%s  %.100s\x1b[K", p.elapsed(), text)
	case step || p.now().Sub(p.last) > quiet:
		p.last = p.now()
		fmt.Fprintf(p.out, "%s  %s\n", p.elapsed(), text)
	}
}

// end clears the terminal's line for the next output.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
