//go:build e2e

package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// counter is a Deployment whose pod counts its seconds in its log.
const counter = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: counter}
spec:
  replicas: 1
  selector: {matchLabels: {app: counter}}
  template:
    metadata: {labels: {app: counter}}
` + container + `        command: [sh, -c, 'trap "exit 0" TERM; i=0; while true; do echo line $i; i=$((i+1)); sleep 1 & wait $!; done']
`

// streams are a kubectl exec that echoes and a kubectl logs --follow. They are open
// for as long as no fault has to end them.
type streams struct {
	env   *env.Env
	shell *stream
	logs  *stream
	words int
}

// stream is a kubectl that runs.
type stream struct {
	process *env.Process
	input   io.Writer
	output  *env.Transcript
	errors  *env.Transcript
}

func (s *streams) start(t *testing.T, args ...string) *stream {
	t.Helper()
	cmd := s.env.KubectlCommand(t.Context(), "local", args...)
	opened := &stream{output: &env.Transcript{}, errors: &env.Transcript{}}
	cmd.Stdout, cmd.Stderr = opened.output, opened.errors
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	opened.input, opened.process = input, env.Start(t, cmd)
	return opened
}

// end ends a stream that is of no use any more.
func (s *stream) end() { _ = s.process.Process.Kill() }

// patienceWithStreams is how long a stream may take to answer.
const patienceWithStreams = 30 * time.Second

// open opens those that are not, and returns what keeps one from working.
func (s *streams) open(t *testing.T) []violation {
	t.Helper()
	if s.shell != nil && s.logs != nil {
		return nil
	}
	if s.shell == nil {
		s.shell = s.start(t, "exec", "-i", "-n", streamed, "deploy/counter", "--", "cat")
	}
	if s.logs == nil {
		s.logs = s.start(t, "logs", "--follow", "--tail=1", "-n", streamed, "deploy/counter")
	}
	return s.check(t, true)
}

// check returns a violation for each stream that does not work, if it has to, and
// forgets it.
func (s *streams) check(t *testing.T, haveTo bool) []violation {
	t.Helper()
	var found []violation
	for _, one := range []struct {
		kubectl string
		open    **stream
		works   func(context.Context) error
	}{{"exec", &s.shell, s.echoes}, {"logs --follow", &s.logs, s.continues}} {
		err := errors.New("it has ended")
		if !(*one.open).process.HasEnded() {
			err = one.works(t.Context())
		}
		if err == nil {
			continue
		}
		if haveTo {
			found = append(found, violation{broken, fmt.Sprintf("kubectl %s: %v; it said %q", one.kubectl, err, (*one.open).errors.String())})
		}
		(*one.open).end()
		*one.open = nil
	}
	return found
}

// echoes returns nil if the session answers.
func (s *streams) echoes(ctx context.Context) error {
	s.words++
	word := fmt.Sprintf("word %d\n", s.words)
	if _, err := io.WriteString(s.shell.input, word); err != nil {
		return err
	}
	return within(ctx, patienceWithStreams, func(context.Context) error {
		if !strings.HasSuffix("\n"+s.shell.output.String(), "\n"+word) {
			return fmt.Errorf("no echo of %q", word)
		}
		return nil
	})
}

// continues returns nil if the log still comes, and without a gap.
func (s *streams) continues(ctx context.Context) error {
	before, err := lastLine(s.logs.output.String())
	if err != nil {
		return err
	}
	return within(ctx, patienceWithStreams, func(context.Context) error {
		last, err := lastLine(s.logs.output.String())
		if err == nil && last == before {
			err = fmt.Errorf("nothing after line %d", last)
		}
		return err
	})
}
