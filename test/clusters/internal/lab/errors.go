package lab

import "fmt"

// Mistake is an error that the caller can mend: one sentence that says how.
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
