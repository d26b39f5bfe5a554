package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Error means that akd cannot run with the configuration. The program ends with exit
// code 2: retrying does not help.
type Error struct {
	// Problems has all problems, in the order of the file.
	Problems []Problem
}

// Error returns one line per problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, problem := range e.Problems {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// Problem is one mistake in a configuration.
type Problem struct {
	// File is the path that was passed to Load, or empty if the value is not from a
	// file.
	File string
	// Line is the line in File, from 1, or 0 if there is none, as for a missing field.
	Line int
	// Flag is the name of the flag with the value, or empty if it is from a file.
	Flag string
	// Field is the path of the field, such as node.taints[0].effect, or empty if the
	// problem concerns the whole file.
	Field string
	// Found is what the configuration has, Want what is allowed or what to do.
	Found, Want string
}

// String returns the problem as one sentence:
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

// problems collects problems, and the origins of all values.
type problems struct {
	file    string
	list    []Problem
	origins map[string]origin
}

// origin is where a value is from: a line of the file, or a flag.
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

// at adds a problem with the origin of the field, or of the nearest field that
// contains it.
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

// err returns nil, or an *Error with all problems in the order of the file.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &Error{Problems: slices.Compact(p.list)}
}

// overridden removes the problems and origins of a field that a flag overrides, and
// of everything in it.
func (p *problems) overridden(field, flag string) {
	p.list = slices.DeleteFunc(p.list, func(problem Problem) bool { return below(problem.Field, field) })
	for path := range p.origins {
		if below(path, field) {
			delete(p.origins, path)
		}
	}
	p.origins[field] = origin{flag: flag}
}

// below reports whether path is the field or is in it.
func below(path, field string) bool {
	rest, ok := strings.CutPrefix(path, field)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
