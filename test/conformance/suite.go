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
	// suiteSlice takes a few minutes, and is part of make test.
	suiteSlice = "slice"
	// suiteStorage is what Kubernetes tests of any driver, and of claims.
	suiteStorage = "storage"
	suiteAny     = "any"
)

//go:embed slice.txt
var sliceFile string

// inSlice reports whether the spec is in slice.txt.
func inSlice(name string) bool {
	return slices.Contains(strings.Split(sliceFile, "\n"), name)
}

// selection chooses specs.
type selection struct {
	suite string
	focus *regexp.Regexp
	skip  *regexp.Regexp // may be nil
}

// check returns an error if there is no such suite.
func (s selection) check() error {
	if suites := []string{suiteNode, suiteSlice, suiteFull, suiteStorage, suiteAny}; !slices.Contains(suites, s.suite) {
		return fmt.Errorf("unknown suite %q: choose one of %s", s.suite, strings.Join(suites, ", "))
	}
	return nil
}

// choose returns the sorted names of the specs to run: those that may run at
// the same time, and those that must run alone.
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

// storage are the volumes of sig-storage that a kubelet makes on its own.
var storage = regexp.MustCompile(`\[sig-storage\] (ConfigMap|Secrets|Projected|Downward API|EmptyDir)`)

// claims are the specs beside those of a driver that use claims, most of them of the
// default class.
var claims = regexp.MustCompile(`External Storage \[Driver: |^\[sig-apps\] StatefulSet |` +
	`^\[sig-storage\] (Dynamic Provisioning|PVC Protection|PersistentVolumes .*\[Conformance\])`)

// inSuite reports whether the spec is in the suite. The label Feature also marks
// specs that need a feature gate which is off by default.
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
	case suiteStorage:
		return claims.MatchString(name) && !slices.ContainsFunc([]string{"Disruptive", "Flaky", "Feature"}, spec.has)
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
