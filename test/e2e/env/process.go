//go:build e2e

package env

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// Run runs a command, which must succeed, and returns its standard output.
func Run(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out, stderr.String())
	}
	return string(out)
}

// Transcript collects what a process writes while it runs.
type Transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (s *Transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// String is everything written so far.
func (s *Transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// WaitFor waits until the transcript contains the text.
func (s *Transcript) WaitFor(t testing.TB, text string) {
	t.Helper()
	Eventually(t, fmt.Sprintf("the process writes %q", text), func(context.Context) error {
		if written := s.String(); !strings.Contains(written, text) {
			return fmt.Errorf("so far %q", written[max(0, len(written)-1024):])
		}
		return nil
	})
}

// Process is a command that runs beside the test.
type Process struct {
	*exec.Cmd
	// Transcript has both outputs, unless Stdout was set.
	Transcript Transcript

	ended chan struct{}
	err   error // once ended
}

// Start starts the command, which is killed when the test ends.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Cmd: cmd, ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = &p.Transcript, &p.Transcript
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.watch(t)
	return p
}

// Watch is Start for a command that has been started already.
func Watch(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Cmd: cmd, ended: make(chan struct{})}
	p.watch(t)
	return p
}

func (p *Process) watch(t testing.TB) {
	t.Helper()
	go func() {
		defer close(p.ended)
		p.err = p.Wait()
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
	})
}

// HasEnded reports whether the command has ended.
func (p *Process) HasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// WaitExit waits until the command has ended and returns its exit code.
func (p *Process) WaitExit(t testing.TB) int {
	t.Helper()
	Eventually(t, strings.Join(p.Args, " ")+" ends", func(context.Context) error {
		if !p.HasEnded() {
			return fmt.Errorf("it is still running and has written %q", p.Transcript.String())
		}
		return nil
	})
	if p.err != nil && ExitCode(p.err) == 0 {
		t.Errorf("%s: %v", strings.Join(p.Args, " "), p.err)
	}
	return ExitCode(p.err)
}

// Session is a running kubectl exec that echoes its input.
type Session struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	answer bytes.Buffer
}

// OpenSession opens a session in a pod of the local cluster.
func (e *Env) OpenSession(t testing.TB, namespace, pod string) *Session {
	t.Helper()
	s := &Session{cmd: e.KubectlCommand(t.Context(), "local", "exec", "-i", "-n", namespace, pod, "--", "cat")}
	s.cmd.Stdout = &s.answer
	var err error
	if s.input, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// MustAnswer fails the test unless the session still echoes, and ends it.
func (s *Session) MustAnswer(t testing.TB) {
	t.Helper()
	_, _ = io.WriteString(s.input, "still here\n")
	_ = s.input.Close()
	if err := s.cmd.Wait(); err != nil || s.answer.String() != "still here\n" {
		t.Errorf("the session ended with %v and wrote %q", err, s.answer.String())
	}
}
