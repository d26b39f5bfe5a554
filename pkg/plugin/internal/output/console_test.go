package output

import (
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"
)

// lines is a terminal that hands over what is written to it.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// A line says what is under way, since when, and what was last seen, in as many
// columns as there are; nothing of it stays.
func TestLiveLine(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	written := make(lines)
	c := newConsole(written, clock, 40, false)
	told, end, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		c.WithSpinner(t.Context(), "node is ready", func(ctx context.Context) {
			Progress(ctx, "the node "+strings.Repeat("very ", 9)+"slow")
			close(told)
			<-end
		})
	}()
	<-told
	clock.Step(2 * time.Second)
	if got, want := <-written, "\r\x1b[K… node is ready (2s): the node very ve…"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	close(end)
	if got := <-written; got != "\r\x1b[K" {
		t.Errorf("at the end it writes %q, want it to clear the line", got)
	}
	<-ended
}

func TestParagraph(t *testing.T) {
	cases := map[string]struct {
		reason string
		width  int
		want   string
	}{
		"Terminal": {
			reason: "no line is broken within a word that fits",
			width:  24,
			want:   "  ✓ akd runs: a pod of a\n    very_long_name_indeed_it_is\n    is there\n",
		},
		"File": {reason: "a line of a file is as long as it is", want: "  ✓ akd runs: a pod of a very_long_name_indeed_it_is is there\n"},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			var out strings.Builder
			c := Plain(&out)
			c.width = tc.width
			c.Paragraph(2, MarkOK, "akd runs: a pod of a very_long_name_indeed_it_is is there")
			if diff := cmp.Diff(tc.want, out.String()); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestStyle(t *testing.T) {
	cases := map[string]struct {
		reason string
		mode   colorMode
		env    map[string]string
		want   bool
	}{
		"File":    {reason: "a file or a pipe has no colors", mode: colorAuto},
		"Always":  {reason: "unless it is asked for", mode: colorAlways, want: true},
		"NoColor": {reason: "a flag comes before the environment", mode: colorAlways, env: map[string]string{"NO_COLOR": "1"}, want: true},
		"Never":   {reason: "as it says", mode: colorNever},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			s := Style{mode: tc.mode, env: func(name string) string { return tc.env[name] }}
			got := regexp.MustCompile(`^\x1b\[32m✓\x1b\[0m$`).MatchString(s.On(io.Discard).Mark(MarkOK))
			if got != tc.want {
				t.Errorf("%s: colored %t, want %t", tc.reason, got, tc.want)
			}
		})
	}
}
