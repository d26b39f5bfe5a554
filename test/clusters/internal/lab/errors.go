package lab

import (
	"context"
	"errors"
	"fmt"
)

// Mistake is an error that the caller can fix: one sentence that says how.
type Mistake string

func (m Mistake) Error() string { return string(m) }

func mistakef(format string, args ...any) error { return Mistake(fmt.Sprintf(format, args...)) }

// ComponentError is a failure of one component, with the end of its log.
type ComponentError struct {
	Component string
	Log       string
	Tail      string
	Err       error
}

func (e *ComponentError) Error() string { return fmt.Sprintf("%s: %v", e.Component, e.Err) }

func (e *ComponentError) Unwrap() error { return e.Err }

// blame attributes an error to a component, unless it has one already or the user
// interrupted the wait.
func (l *Lab) blame(name string, err error) error {
	var known *ComponentError
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	return &ComponentError{Component: name, Log: l.table().Log(name), Tail: l.table().Tail(name, 15), Err: err}
}
