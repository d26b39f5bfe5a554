package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// enterCommand is the hidden first argument that turns this program into the
// trampoline; see Trampoline.
const enterCommand = "__enter"

// Table is the set of a run's processes, kept in two folders: records and logs.
// It has no memory of its own, so any later caller sees the same processes.
type Table struct {
	// Self is the program that holds the trampoline, normally os.Executable.
	Self string
	// Records and Logs are folders, which must exist.
	Records, Logs string
	// Identity is the value of Marker.
	Identity string
}

// Record describes a started process.
type Record struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	// Start is the kernel's own start time of the process, opaque, comparable.
	Start string `json:"start"`
}

// Log returns the path of the log of the process called name.
func (t Table) Log(name string) string { return filepath.Join(t.Logs, name+".log") }

func (t Table) recordPath(name string) string { return filepath.Join(t.Records, name+".pid") }

// Start starts the program detached from the caller: own session, output to
// its log, surviving the caller. The process that is returned may have ended
// already; see Alive.
func (t Table) Start(spec Spec) (Record, error) {
	specPath := filepath.Join(t.Records, spec.Name+".json")
	if err := writeSpec(specPath, spec); err != nil {
		return Record{}, err
	}
	log, err := os.OpenFile(t.Log(spec.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return Record{}, err
	}
	defer log.Close()
	cmd := exec.Command(t.Self, enterCommand, specPath)
	cmd.Env = append(slices.Clone(spec.Env), Marker+"="+t.Identity)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = spec.Files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return Record{}, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	record := Record{Name: spec.Name, PID: cmd.Process.Pid}
	// The start time must be read before the child is reaped.
	record.Start, err = startTime(record.PID)
	// The child outlives the caller by design; waiting only avoids a zombie if the
	// child ends first.
	go func() { _ = cmd.Wait() }()
	if err != nil {
		return record, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	data, err := json.Marshal(record)
	if err != nil {
		return record, err
	}
	return record, replaceFile(t.recordPath(spec.Name), data)
}

// Run runs the program to its end, with input from stdin, and returns its standard
// output. The error includes its standard error.
func (t Table) Run(ctx context.Context, spec Spec, stdin io.Reader) ([]byte, error) {
	temp, err := os.CreateTemp(t.Records, ".once-*.json")
	if err != nil {
		return nil, err
	}
	_ = temp.Close()
	defer os.Remove(temp.Name())
	if err := writeSpec(temp.Name(), spec); err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, t.Self, enterCommand, temp.Name())
	cmd.Env = append(slices.Clone(spec.Env), Marker+"="+t.Identity)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run %s: %w: %s", filepath.Base(spec.Path), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// All returns the processes that were started, by name; ended ones too.
func (t Table) All() ([]Record, error) {
	paths, err := filepath.Glob(filepath.Join(t.Records, "*.pid"))
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	var records []Record
	for _, path := range paths {
		record, err := readRecord(path)
		if err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	return records, nil
}

// Find returns the record called name; ok is false when there is none.
func (t Table) Find(name string) (record Record, ok bool) {
	record, err := readRecord(t.recordPath(name))
	return record, err == nil
}

func readRecord(path string) (Record, error) {
	var record Record
	data, err := os.ReadFile(path)
	if err != nil {
		return record, err
	}
	if err := json.Unmarshal(data, &record); err != nil {
		return record, fmt.Errorf("decode %s: %w", path, err)
	}
	return record, nil
}

// Alive reports whether the process of the record, and not another one that was
// given its pid, is running.
func (r Record) Alive() bool {
	start, err := startTime(r.PID)
	return err == nil && start == r.Start && r.PID > 0
}

// Stop ends the process: SIGTERM, and SIGKILL after grace. It returns when the
// process is gone. It succeeds if the process is gone already.
func (r Record) Stop(ctx context.Context, grace time.Duration) error {
	// A handle (a pidfd on Linux) first, the identity check second: the signal
	// then cannot reach a later owner of the pid.
	handle, err := os.FindProcess(r.PID)
	if err != nil || !r.Alive() {
		return nil
	}
	defer func() { _ = handle.Release() }()
	if err := handle.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s (pid %d): %w", r.Name, r.PID, err)
	}
	if r.gone(ctx, grace) {
		return nil
	}
	if err := handle.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s (pid %d): %w", r.Name, r.PID, err)
	}
	if !r.gone(ctx, 10*time.Second) {
		return fmt.Errorf("kill %s (pid %d): it is still there", r.Name, r.PID)
	}
	return nil
}

func (r Record) gone(ctx context.Context, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for r.Alive() {
		select {
		case <-ctx.Done():
			return !r.Alive()
		case <-tick.C:
		}
	}
	return true
}

// Forget removes the record and spec of the process called name.
func (t Table) Forget(name string) error {
	for _, path := range []string{t.recordPath(name), filepath.Join(t.Records, name+".json")} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Tail returns the last lines of the log of the process called name, or nothing if
// there is no log.
func (t Table) Tail(name string, lines int) string {
	data, err := os.ReadFile(t.Log(name))
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
