package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// pair are the versions of two clusters.
type pair struct{ local, remote string }

// pairs returns the pairs to test: each version with itself and the oldest with
// the newest, both ways; or all.
func (o *options) pairs() ([]pair, error) {
	if len(o.versions) == 0 {
		return nil, errors.New("no versions: give --versions, such as 1.36.3,1.37.1")
	}
	oldest, newest := o.versions[0], o.versions[len(o.versions)-1]
	var pairs []pair
	for _, local := range o.versions {
		for _, remote := range o.versions {
			corner := (local == oldest || local == newest) && (remote == oldest || remote == newest)
			if o.all || local == remote || corner {
				pairs = append(pairs, pair{local, remote})
			}
		}
	}
	return pairs, nil
}

// result is the outcome of the tests between two clusters.
type result struct{ passed, failed, skipped []string }

func (r result) String() string {
	switch {
	case len(r.failed) > 0:
		return "failed: " + strings.Join(r.failed, ", ")
	case len(r.skipped) > 0:
		return fmt.Sprintf("%d passed, %d skipped", len(r.passed), len(r.skipped))
	}
	return fmt.Sprintf("%d passed", len(r.passed))
}

// try runs the tests between two clusters of their own.
func (o *options) try(ctx context.Context, p pair) (r result, err error) {
	log, err := os.Create(filepath.Join(o.out, p.local+"-"+p.remote+".log"))
	if err != nil {
		return r, fmt.Errorf("log: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	defer func() {
		// The tests take their clusters down unless they are killed.
		if downErr := exec.CommandContext(context.WithoutCancel(ctx), o.clusters, "--dir", o.dir, "down").Run(); err == nil {
			err = downErr
		}
	}()
	cmd := exec.CommandContext(ctx, "go", "test", "-json", "-tags", "e2e", "-count=1", "-timeout=60m", "-run", o.tests, "./test/e2e")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	cmd.Env = append(os.Environ(), "E2E_CLUSTERS_DIR="+o.dir, "E2E_LOCAL_VERSION="+p.local, "E2E_REMOTE_VERSION="+p.remote)
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := cmd.Start(); err != nil {
		return r, fmt.Errorf("start the tests: %w", err)
	}
	r, readErr := readResults(out, log)
	testErr := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return r, ctx.Err()
	case readErr != nil:
		return r, fmt.Errorf("read the tests' results: %w", readErr)
	case testErr != nil && len(r.failed) == 0:
		return r, fmt.Errorf("the tests did not run: see %s", log.Name())
	case len(r.passed)+len(r.failed) == 0:
		return r, fmt.Errorf("no test matches %q: check --run", o.tests)
	}
	return r, nil
}

// readResults reads go test's events, and writes the tests' output to the log.
// https://pkg.go.dev/cmd/test2json
func readResults(events io.Reader, log io.Writer) (r result, err error) {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return r, err
		}
		var event struct{ Action, Test, Output string }
		if json.Unmarshal(line, &event) != nil {
			event.Action, event.Output = "output", string(line) // from go itself
		}
		topLevel := event.Test != "" && !strings.Contains(event.Test, "/")
		switch {
		case event.Action == "output":
			if _, err := io.WriteString(log, event.Output); err != nil {
				return r, err
			}
		case !topLevel:
		case event.Action == "pass":
			r.passed = append(r.passed, event.Test)
		case event.Action == "fail":
			r.failed = append(r.failed, event.Test)
		case event.Action == "skip":
			r.skipped = append(r.skipped, event.Test)
		}
	}
}

// matrix is a Markdown table of local and remote versions.
func matrix(versions []string, results map[pair]result) string {
	var text strings.Builder
	text.WriteString("| local \\ remote |")
	for _, remote := range versions {
		fmt.Fprintf(&text, " %s |", remote)
	}
	text.WriteString("\n| --- |" + strings.Repeat(" --- |", len(versions)) + "\n")
	for _, local := range versions {
		fmt.Fprintf(&text, "| **%s** |", local)
		for _, remote := range versions {
			cell := "not tested"
			if r, ok := results[pair{local, remote}]; ok {
				cell = r.String()
			}
			fmt.Fprintf(&text, " %s |", cell)
		}
		text.WriteString("\n")
	}
	if tests := testsOf(results); len(tests) > 0 {
		fmt.Fprintf(&text, "\nEach pair ran %s.", strings.Join(tests, ", "))
	}
	return text.String()
}

// testsOf names the tests that ran anywhere.
func testsOf(results map[pair]result) []string {
	var tests []string
	for _, r := range results {
		tests = append(tests, slices.Concat(r.passed, r.failed, r.skipped)...)
	}
	slices.Sort(tests)
	return slices.Compact(tests)
}
