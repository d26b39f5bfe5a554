package build

import (
	"fmt"
	"regexp"
	"strings"
)

// Error says in one sentence why a program cannot be built, and what to do about
// it. The cause is the machine, not a defect of this package.
type Error struct {
	What string
	Err  error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.What
	}
	return fmt.Sprintf("%s: %v", e.What, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// commandError is a failed command and its output.
type commandError struct {
	command string
	output  string
	err     error
}

func (e *commandError) Error() string {
	return fmt.Sprintf("%s: %v\n%s", e.command, e.err, lastLines(e.output, 12))
}

func (e *commandError) Unwrap() error { return e.err }

// The go command and gcc report causes as text only.
var (
	saysFull    = regexp.MustCompile(`(?i)no space left on device|disk quota exceeded`)
	saysOffline = regexp.MustCompile(`dial tcp|no such host|i/o timeout|TLS handshake|connection refused|connection reset|` +
		`proxyconnect|network is unreachable|GOPROXY=off`)
	saysOld = regexp.MustCompile(`requires go >= ?[0-9.]+[^\n]*`)
	// A proxy has no such version: 404 and 410 by its protocol; some say 403.
	// https://go.dev/ref/mod#goproxy-protocol
	saysUnknown = regexp.MustCompile(`: 40[34] |: 410 |unknown revision|invalid version`)
)

// explain turns a command's failure into an Error, if the user can fix it.
func explain(name string, err *commandError) error {
	switch {
	case saysFull.MatchString(err.output):
		return &Error{"build " + name + ": a disk is full: free some space there, " +
			"or set XDG_CACHE_HOME, GOCACHE and TMPDIR to folders on another one", err}
	case saysOld.MatchString(err.output):
		return &Error{What: "build " + name + ": install a newer Go: " + saysOld.FindString(err.output)}
	case saysOffline.MatchString(err.output):
		return &Error{"build " + name + ": the Go module proxy does not answer: connect this machine, " +
			"or set GOPROXY to a proxy that it can reach", err}
	}
	return fmt.Errorf("build %s: %w", name, err)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
