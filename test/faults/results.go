package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// breach is what a violation is one of.
type breach string

const (
	lost    breach = "pods lost"
	doubled breach = "pods doubled"
	ended   breach = "pods falsely ended"
	foreign breach = "foreign objects changed"
	broken  breach = "streams ended or with gaps"
	stuck   breach = "not recovered"

	destroyed breach = "volumes lost"
	mixed     breach = "volumes mixed up"
	raced     breach = "volumes with two writers"
	shrunk    breach = "volumes that shrank"
)

// breaches returns all of them in the report's order.
func breaches() []breach {
	return []breach{lost, doubled, ended, destroyed, mixed, raced, shrunk, foreign, broken, stuck}
}

// violation is one broken promise.
type violation struct {
	Breach breach `json:"breach"`
	Text   string `json:"text"`
}

// result is what became of one fault.
type result struct {
	// Number counts from 0 in a run.
	Number int    `json:"number"`
	Kind   string `json:"kind"`
	// With are the kinds that happened at the same time.
	With []string `json:"with,omitempty"`
	Seed uint64   `json:"seed"`
	// Began is when the fault began; it was over LastedSeconds later, and both
	// clusters agreed again RecoverySeconds after that. By then all was done that
	// users had begun: rollouts, Jobs, and a pod that was created after the fault.
	Began           time.Time `json:"began"`
	LastedSeconds   float64   `json:"lastedSeconds"`
	RecoverySeconds float64   `json:"recoverySeconds"`
	// Pods counts the local pods that were judged, and Writes what akd wrote in both
	// clusters, refused or not. Of faults at the same time, the first one has these and the
	// violations.
	Pods       int         `json:"pods"`
	Writes     int         `json:"writes"`
	Violations []violation `json:"violations,omitempty"`
}

// all names the faults of the round.
func (r result) all() string { return strings.Join(append([]string{r.Kind}, r.With...), " with ") }

// String is the line of progress.
func (r result) String() string {
	text := fmt.Sprintf("%s for %.1f s, recovered in %.1f s, %d pods, %d writes",
		r.all(), r.LastedSeconds, r.RecoverySeconds, r.Pods, r.Writes)
	if len(r.Violations) > 0 {
		text += fmt.Sprintf(", %d VIOLATIONS", len(r.Violations))
	}
	return text
}

// journal is a file with one result per line, which outlives an interrupted run.
type journal struct {
	results []result
	file    *os.File
}

// openJournal opens the journal to add results to those of the run that it is to
// resume, and to an empty one otherwise. It keeps the last run's as FILE.old.
func openJournal(path string, resume bool) (*journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if !resume {
		if err := os.Rename(path, path+".old"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file}
	if err := j.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), file.Close())
	}
	return j, nil
}

// read reads all whole lines. A line that an interrupted run has begun is written
// over.
func (j *journal) read() error {
	content, err := io.ReadAll(j.file)
	if err != nil {
		return err
	}
	whole := content[:bytes.LastIndexByte(content, '\n')+1]
	for line := range bytes.Lines(whole) {
		var r result
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		j.results = append(j.results, r)
	}
	if err := j.file.Truncate(int64(len(whole))); err != nil {
		return err
	}
	_, err = j.file.Seek(0, io.SeekEnd)
	return err
}

func (j *journal) add(r result) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	j.results = append(j.results, r)
	_, err = j.file.Write(append(line, '\n'))
	return err
}

// report is a table of the results by kind, and what they say together.
func report(results []result) string {
	kinds := map[string][]result{}
	count, pods, writes := map[breach]int{}, 0, 0
	for _, r := range results {
		kinds[r.Kind] = append(kinds[r.Kind], r)
		pods += r.Pods
		writes += r.Writes
		for _, v := range r.Violations {
			count[v.Breach]++
		}
	}
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 1, ' ', tabwriter.Debug)
	fmt.Fprintln(table, "fault\t times\t recovered, median\t max\t violations")
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintln(table, row(name, kinds[name]))
	}
	fmt.Fprintln(table, row("all", results))
	_ = table.Flush() // a strings.Builder takes everything
	fmt.Fprintf(&text, "\npods judged: %d\nwrites of akd: %d\n", pods, writes)
	for _, b := range breaches() {
		fmt.Fprintf(&text, "%s: %d\n", b, count[b])
	}
	return text.String()
}

func row(name string, results []result) string {
	violations := 0
	var recoveries []float64
	for _, r := range results {
		violations += len(r.Violations)
		recoveries = append(recoveries, r.RecoverySeconds)
	}
	if len(recoveries) == 0 {
		return name + "\t 0\t\t\t 0"
	}
	slices.Sort(recoveries)
	median := recoveries[(len(recoveries)-1)/2]
	return fmt.Sprintf("%s\t %d\t %.1f s\t %.1f s\t %d", name, len(results), median, recoveries[len(recoveries)-1], violations)
}
