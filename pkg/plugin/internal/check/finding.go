package check

import "fmt"

// Level is how a check ended.
type Level string

// Levels. Only LevelFailed makes a run of checks fail.
const (
	LevelOK      Level = "ok"
	LevelWarning Level = "warning"
	LevelFailed  Level = "failed"
	LevelSkipped Level = "skipped"
)

// Finding is what a check found.
type Finding struct {
	Level Level `json:"level"`
	// Found is the evidence, or the reason why the check was skipped.
	Found string `json:"found,omitempty"`
	// Fix says how to fix a warning or a failure: a command, or an imperative
	// sentence.
	Fix string `json:"fix,omitempty"`
	// Details are the single answers behind Found, if there are many.
	Details []string `json:"details,omitempty"`
}

func ok(format string, args ...any) Finding {
	return Finding{Level: LevelOK, Found: fmt.Sprintf(format, args...)}
}

func warning(fix, format string, args ...any) Finding {
	return Finding{Level: LevelWarning, Found: fmt.Sprintf(format, args...), Fix: fix}
}

func failed(fix, format string, args ...any) Finding {
	return Finding{Level: LevelFailed, Found: fmt.Sprintf(format, args...), Fix: fix}
}

func skipped(format string, args ...any) Finding {
	return Finding{Level: LevelSkipped, Found: fmt.Sprintf(format, args...)}
}

// unknown skips a check that an error kept from its answer.
func unknown(err error) Finding { return Finding{Level: LevelSkipped, Found: err.Error()} }

// passed reports whether checks that need this one can be made.
func (f *Finding) passed() bool { return f.Level == LevelOK || f.Level == LevelWarning }
