package failure

import (
	"errors"
	"fmt"
	"slices"
)

// usageError is a mistake in what the user typed.
type usageError struct{ error }

// Unwrap returns what the mistake is.
func (e usageError) Unwrap() error { return e.error }

// Usage marks an error as a mistake in what the user typed.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// Usagef is fmt.Errorf for a mistake in what the user typed.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// IsUsage reports whether an error is a mistake in what the user typed.
func IsUsage(err error) bool {
	_, ok := errors.AsType[usageError](err)
	return ok
}

// unhealthyError is the result of a command that found problems.
type unhealthyError struct{ error }

// Unwrap returns the problems.
func (e unhealthyError) Unwrap() error { return e.error }

// Unhealthyf is fmt.Errorf for a command that did its work and found problems.
func Unhealthyf(format string, args ...any) error {
	return unhealthyError{fmt.Errorf(format, args...)}
}

// IsUnhealthy reports whether a command did its work and found problems.
func IsUnhealthy(err error) bool {
	_, ok := errors.AsType[unhealthyError](err)
	return ok
}

// hintedError carries what to do about an error. Its text is the error's alone.
type hintedError struct {
	error
	hint string
}

// Unwrap returns the error without its hint.
func (e hintedError) Unwrap() error { return e.error }

// Hintf adds to an error what its user can do about it.
func Hintf(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return hintedError{err, fmt.Sprintf(format, args...)}
}

// Hints returns the hints of an error and of all that it wraps, each once, the
// innermost first: it belongs to the cause.
func Hints(err error) []string {
	var found []string
	collect(err, &found)
	return found
}

func collect(err error, found *[]string) {
	switch wrapper := err.(type) { //nolint:errorlint // it walks the tree itself
	case interface{ Unwrap() error }:
		collect(wrapper.Unwrap(), found)
	case interface{ Unwrap() []error }:
		for _, one := range wrapper.Unwrap() {
			collect(one, found)
		}
	}
	if hinted, ok := err.(hintedError); ok && !slices.Contains(*found, hinted.hint) { //nolint:errorlint // likewise
		*found = append(*found, hinted.hint)
	}
}
