package keypattern

import (
	"errors"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Want describes valid patterns, for messages about others.
const Want = "want a key such as example.com/name, with * for any characters, or example.com/ for all names of a prefix"

// maxStars limits the work for one key: users of a cluster choose keys.
const maxStars = 4

var errInvalid = errors.New(Want)

// Check returns nil if the pattern is valid: a key in which * stands for any
// characters, or none. A pattern that ends with / matches all names of that prefix.
func Check(pattern string) error {
	if strings.Count(pattern, "*") > maxStars || strings.Contains(pattern, "**") {
		return errInvalid
	}
	key := strings.ToLower(strings.ReplaceAll(pattern, "*", "x"))
	if strings.HasSuffix(key, "/") {
		key += "x"
	}
	if len(validation.IsQualifiedName(key)) > 0 {
		return errInvalid
	}
	return nil
}

// Set is a set of patterns. Do not modify it: goroutines share it.
type Set struct {
	endings []string // of *ENDING/: what prefixes end with, which is the usual form
	globs   [][]string
}

// New returns the set of those patterns, which are valid.
func New(patterns ...string) Set {
	var s Set
	for _, pattern := range patterns {
		pattern = strings.ToLower(pattern)
		if ending, ok := strings.CutPrefix(pattern, "*"); ok && strings.HasSuffix(ending, "/") && !strings.Contains(ending, "*") {
			s.endings = append(s.endings, strings.TrimSuffix(ending, "/"))
			continue
		}
		if strings.HasSuffix(pattern, "/") {
			pattern += "*"
		}
		s.globs = append(s.globs, strings.Split(pattern, "*"))
	}
	return s
}

// Matches reports whether one of the patterns matches the key. Case does not matter:
// the API accepts annotations in any.
func (s Set) Matches(key string) bool {
	if len(s.endings)+len(s.globs) == 0 {
		return false
	}
	lower := strings.ToLower(key)
	if prefix, _, ok := strings.Cut(lower, "/"); ok {
		if slices.ContainsFunc(s.endings, func(ending string) bool { return strings.HasSuffix(prefix, ending) }) {
			return true
		}
	}
	return slices.ContainsFunc(s.globs, func(parts []string) bool { return matches(parts, lower) })
}

// matches reports whether the key consists of the parts, in this order, with any
// characters between them.
func matches(parts []string, key string) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return key == first
	}
	if len(key) < len(first)+len(last) || !strings.HasPrefix(key, first) || !strings.HasSuffix(key, last) {
		return false
	}
	middle := key[len(first) : len(key)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(middle, part)
		if at < 0 {
			return false
		}
		middle = middle[at+len(part):]
	}
	return true
}
