package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// side is where a spec ran.
type side string

const (
	direct  side = "direct"
	through side = "through AK"
)

// state is the outcome of a spec.
type state string

const (
	passed  state = "passed"
	failed  state = "failed"
	skipped state = "skipped"
)

// result is one attempt at one spec.
type result struct {
	Spec    string  `json:"spec"`
	Side    side    `json:"side"`
	State   state   `json:"state"`
	Seconds float64 `json:"seconds"`
	// Message is the first line of the failure.
	Message string `json:"message,omitempty"`
	// Of names the tested versions of Kubernetes and akd.
	Of string `json:"of"`
	// Log is the file with the whole output, in the folder of results.
	Log string `json:"log"`
}

// results are all attempts, in memory and, a line each, in a file: a run that
// is interrupted loses only the specs that were under way.
type results struct {
	file     *os.File
	attempts map[side]map[string][]result
}

// openResults starts an empty file of results, or reads an existing one.
func openResults(folder string, resume bool) (*results, error) {
	r := &results{attempts: map[side]map[string][]result{direct: {}, through: {}}}
	path := filepath.Join(folder, "results.jsonl")
	if resume {
		if err := r.load(path); err != nil {
			return nil, err
		}
	} else if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("start results: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open results: %w", err)
	}
	r.file = file
	return r, nil
}

func (r *results) load(path string) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read results: %w", err)
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var one result
		if json.Unmarshal(lines.Bytes(), &one) != nil || r.attempts[one.Side] == nil {
			continue // half a line of an interrupted run
		}
		r.attempts[one.Side][one.Spec] = append(r.attempts[one.Side][one.Spec], one)
	}
	return nil
}

// forget drops the results of other versions than of.
func (r *results) forget(s side, of string) {
	for name, attempts := range r.attempts[s] {
		if attempts[len(attempts)-1].Of != of {
			delete(r.attempts[s], name)
		}
	}
}

// add adds the results and saves them.
func (r *results) add(all []result) error {
	encoder := json.NewEncoder(r.file)
	for _, one := range all {
		if err := encoder.Encode(one); err != nil {
			return fmt.Errorf("write results: %w", err)
		}
		r.attempts[one.Side][one.Spec] = append(r.attempts[one.Side][one.Spec], one)
	}
	return nil
}

// passedThrough reports whether the spec has passed through AK.
func (r *results) passedThrough(name string) bool {
	return slices.ContainsFunc(r.attempts[through][name], func(one result) bool { return one.State == passed })
}

// missing are the specs with fewer attempts than times.
func (r *results) missing(s side, names []string, times int) []string {
	var missing []string
	for _, name := range names {
		if len(r.attempts[s][name]) < times {
			missing = append(missing, name)
		}
	}
	return missing
}

func (r *results) close() error { return r.file.Close() }
