package main

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Suites of specs.
const (
	suiteNode = "node"
	suiteFull = "full"
	// suiteSlice is a few minutes' worth, for every day.
	suiteSlice = "slice"
	suiteAny   = "any"
)

//go:embed slice.txt
var sliceFile string

// inSlice says whether slice.txt has the spec.
func inSlice(name string) bool {
	return slices.Contains(strings.Split(sliceFile, "\n"), name)
}

// selection chooses specs.
type selection struct {
	suite string
	focus *regexp.Regexp
	skip  *regexp.Regexp // may be nil
}

// check returns an error when there is no such suite.
func (s selection) check() error {
	if suites := []string{suiteNode, suiteSlice, suiteFull, suiteAny}; !slices.Contains(suites, s.suite) {
		return fmt.Errorf("unknown suite %q: it is one of %s", s.suite, strings.Join(suites, ", "))
	}
	return nil
}

// choose returns the names of the specs to run, those that may run beside
// others and those that must run alone, sorted.
func (s selection) choose(specs []spec) (together, alone []string) {
	for i := range specs {
		name := specs[i].name()
		switch {
		case !s.inSuite(&specs[i]), s.focus != nil && !s.focus.MatchString(name), s.skip != nil && s.skip.MatchString(name):
		case specs[i].has("Serial"):
			alone = append(alone, name)
		default:
			together = append(together, name)
		}
	}
	slices.Sort(together)
	slices.Sort(alone)
	return slices.Compact(together), slices.Compact(alone)
}

// storage are the parts of sig-storage that a kubelet does by itself.
var storage = regexp.MustCompile(`\[sig-storage\] (ConfigMap|Secrets|Projected|Downward API|EmptyDir)`)

// inSuite says whether the suite has the spec. Feature marks also what needs a
// feature gate that is off by default.
func (s selection) inSuite(spec *spec) bool {
	name := spec.name()
	conformance := spec.has("Conformance")
	switch s.suite {
	case suiteAny:
		return true
	case suiteFull:
		return conformance
	case suiteSlice:
		return inSlice(name)
	case suiteNode:
		if slices.ContainsFunc([]string{"Serial", "Slow", "Disruptive", "Flaky", "Feature"}, spec.has) {
			return false
		}
		owned := storage.MatchString(name)
		for _, sig := range []string{"[sig-node]", "[sig-apps]", "[sig-auth]"} {
			owned = owned || strings.HasPrefix(name, sig)
		}
		return spec.has("NodeConformance") || conformance && owned
	}
	return false
}

// batches cuts names into pieces of at most size.
func batches(names []string, size int) [][]string {
	return slices.Collect(slices.Chunk(names, max(1, size)))
}
