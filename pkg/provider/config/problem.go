package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Error is a configuration that akd cannot run with. A program that meets it
// ends with exit code 2: another try will not help.
type Error struct {
	// Problems are all that were found, in the order of the file.
	Problems []Problem
}

// Error gives one sentence a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, problem := range e.Problems {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// Problem is one thing that is wrong.
type Problem struct {
	// File as it was named to Load; empty when the value did not come from one.
	File string
	// Line in File, from 1; 0 when there is none, as for what is missing.
	Line int
	// Flag that gave the value, without its dashes; empty for a file.
	Flag string
	// Field is the path of the field, such as node.taints[0].effect; empty when
	// the problem is of the whole file.
	Field string
	// Found is what is there, Want what is allowed or to be done.
	Found, Want string
}

// String gives the problem as one sentence:
//
//	akd.yaml:12: pods.podSecurity: found "strict"; want privileged, baseline or restricted
func (p Problem) String() string {
	var parts []string
	switch {
	case p.Flag != "":
		parts = append(parts, "--"+p.Flag)
	case p.Line > 0:
		parts = append(parts, p.File+":"+strconv.Itoa(p.Line))
	case p.File != "":
		parts = append(parts, p.File)
	}
	if p.Field != "" {
		parts = append(parts, p.Field)
	}
	return strings.Join(append(parts, p.Found+"; "+p.Want), ": ")
}

// problems collects what is wrong, and where each value came from.
type problems struct {
	file    string
	list    []Problem
	origins map[string]origin
}

// origin is where a value came from: a line of the file, or a flag.
type origin struct {
	line int
	flag string
}

func newProblems(file string) *problems {
	return &problems{file: file, origins: map[string]origin{}}
}

func (p *problems) add(field string, line int, found, want string) {
	p.list = append(p.list, Problem{
		File:  p.file,
		Line:  line,
		Field: field,
		Found: found,
		Want:  want,
	})
}

// at adds a problem of a field whose origin is known, or that of the nearest
// field around it.
func (p *problems) at(field, found, want string) {
	from := p.origin(field)
	problem := Problem{
		File:  p.file,
		Line:  from.line,
		Flag:  from.flag,
		Field: field,
		Found: found,
		Want:  want,
	}
	if problem.Flag != "" {
		problem.File, problem.Line = "", 0
	}
	p.list = append(p.list, problem)
}

func (p *problems) origin(field string) origin {
	for field != "" {
		if from, ok := p.origins[field]; ok {
			return from
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
	return origin{}
}

// err is nil, or an *Error with all of them in the order of the file.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &Error{Problems: slices.Compact(p.list)}
}

// longestQuote is how much of a value an error repeats, in bytes.
const longestQuote = 64

// quote shows a value in an error, on one line and not at any length.
func quote(value string) string {
	if len(value) > longestQuote {
		return fmt.Sprintf("%.*q…", longestQuote, value)
	}
	return strconv.Quote(value)
}

// list names alternatives: a, b or c.
func list(values []string) string {
	if len(values) < 2 {
		return strings.Join(values, "")
	}
	last := len(values) - 1
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// overridden forgets what the file has at the field and below: the flag counts.
func (p *problems) overridden(field, flag string) {
	p.list = slices.DeleteFunc(p.list, func(problem Problem) bool { return below(problem.Field, field) })
	for path := range p.origins {
		if below(path, field) {
			delete(p.origins, path)
		}
	}
	p.origins[field] = origin{flag: flag}
}

// below says whether the path is that of the field, or of something in it.
func below(path, field string) bool {
	rest, ok := strings.CutPrefix(path, field)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
