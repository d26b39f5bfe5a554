package plugin

import (
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

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
	c := &console{out: written, clock: clock, width: 40}
	told, end, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		c.while(t.Context(), "node is ready", func(ctx context.Context) {
			saw(ctx, "the node "+strings.Repeat("very ", 9)+"slow")
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
			s := style{mode: tc.mode, env: func(name string) string { return tc.env[name] }}
			got := regexp.MustCompile(`^\x1b\[32m✓\x1b\[0m$`).MatchString(s.on(io.Discard).mark("✓"))
			if got != tc.want {
				t.Errorf("%s: colored %t, want %t", tc.reason, got, tc.want)
			}
		})
	}
}
