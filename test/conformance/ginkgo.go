package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// spec is one spec of ginkgo's JSON report, with the fields used here.
// https://pkg.go.dev/github.com/onsi/ginkgo/v2/types#SpecReport
type spec struct {
	ContainerHierarchyTexts  []string
	ContainerHierarchyLabels [][]string
	LeafNodeType             string
	LeafNodeText             string
	LeafNodeLabels           []string
	State                    string
	RunTime                  time.Duration
	Failure                  struct{ Message string }

	CapturedGinkgoWriterOutput string
}

// name is the spec's whole text, which is what --focus is matched against.
func (s *spec) name() string {
	return strings.Join(append(slices.Clone(s.ContainerHierarchyTexts), s.LeafNodeText), " ")
}

// has reports whether the spec has the label, or one such as label:Value.
func (s *spec) has(label string) bool {
	for _, labels := range append(slices.Clone(s.ContainerHierarchyLabels), s.LeafNodeLabels) {
		for _, have := range labels {
			if have == label || strings.HasPrefix(have, label+":") {
				return true
			}
		}
	}
	return false
}

// tests are the programs that `clusters tests` builds.
type tests struct {
	program string // e2e.test
	runner  string // ginkgo
	kubectl string
	driver  string // the file that describes a storage driver; empty for none
}

// flags are those that decide which specs the program has.
func (t tests) flags() []string {
	if t.driver == "" {
		return nil
	}
	return []string{"--storage.testdriver=" + t.driver}
}

// all lists the specs that the program has, without running any.
func (t tests) all(ctx context.Context, folder string) ([]spec, error) {
	report := filepath.Join(folder, "specs.json")
	args := append([]string{"--ginkgo.dry-run", "--ginkgo.json-report=" + report, "--ginkgo.silence-skips"}, t.flags()...)
	cmd := exec.CommandContext(ctx, t.program, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("list specs: %w: %s", err, lastLines(string(out)))
	}
	return readReport(report)
}

// pass is one start of e2e.test.
type pass struct {
	name       string // of its files in folder
	folder     string
	kubeconfig string
	procs      int
	specs      []string
}

// run runs these specs and returns their results. The log and the report stay
// in the folder. A failed spec is not an error.
func (t tests) run(ctx context.Context, p pass) ([]result, error) {
	report := p.name + ".json"
	if err := os.RemoveAll(filepath.Join(p.folder, report)); err != nil {
		return nil, fmt.Errorf("run %s: %w", p.name, err)
	}
	log, err := os.Create(filepath.Join(p.folder, p.name+".log"))
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", p.name, err)
	}
	defer func() { _ = log.Close() }()
	args := append([]string{
		"--procs=" + strconv.Itoa(p.procs), "--no-color", "--timeout=24h", "--silence-skips",
		"--output-dir=" + p.folder, "--json-report=" + report, "--focus=" + exactly(p.specs), t.program, "--",
		"--kubeconfig=" + p.kubeconfig, "--kubectl-path=" + t.kubectl, "--provider=skeleton",
		// One node has a taint that repels ordinary pods: do not wait for it.
		"--allowed-not-ready-nodes=-1", "--system-pods-startup-timeout=1s",
		"--disable-log-dump", "--report-complete-ginkgo=false",
	}, t.flags()...)
	cmd := exec.CommandContext(ctx, t.runner, args...)
	cmd.Stdout, cmd.Stderr = log, log
	// Interrupted specs clean up after themselves. Ginkgo expects a terminal to
	// signal its processes as well: they are in its process group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 2 * time.Minute
	runErr := cmd.Run()
	if ctx.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // any process that is left
	}
	specs, err := readReport(filepath.Join(p.folder, report))
	if err != nil {
		return nil, errors.Join(ctx.Err(), runErr, err, fmt.Errorf("run %s: see %s", p.name, log.Name()))
	}
	return outcomes(specs, p.specs), ctx.Err()
}

// exactly is an expression that matches these specs only. Ginkgo puts the
// suite's name before a spec's.
func exactly(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = regexp.QuoteMeta(name)
	}
	return " (" + strings.Join(quoted, "|") + ")$"
}

func readReport(file string) ([]spec, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read ginkgo's report: %w", err)
	}
	var suites []struct{ SpecReports []spec }
	if err := json.Unmarshal(content, &suites); err != nil {
		return nil, fmt.Errorf("read ginkgo's report %s: %w", file, err)
	}
	var all []spec
	for i := range suites {
		for j := range suites[i].SpecReports {
			if suites[i].SpecReports[j].LeafNodeType == "It" {
				all = append(all, suites[i].SpecReports[j])
			}
		}
	}
	return all, nil
}

// outcomes are the results of those of the named specs that ended.
func outcomes(specs []spec, names []string) []result {
	var results []result
	for i := range specs {
		s := &specs[i]
		name := s.name()
		never := s.State == "skipped" && s.RunTime == 0 // an interrupted run did not reach it
		if never || !slices.Contains(names, name) {
			continue
		}
		r := result{Spec: name, Seconds: s.RunTime.Seconds(), Message: firstLine(s.Failure.Message)}
		switch s.State {
		case "passed":
			r.State = passed
		case "skipped", "pending":
			r.State = skipped // by itself: the cluster lacks something that it needs
		case "interrupted", "aborted":
			continue
		default:
			r.State = failed
		}
		results = append(results, r)
	}
	return results
}

func firstLine(text string) string {
	const most = 300
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line[:min(len(line), most)]
}

func lastLines(text string) string {
	const most = 2000
	return text[max(0, len(text)-most):]
}
