package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage is what akd has used so far.
type usage struct {
	cpu  time.Duration
	rss  int // now, MiB
	peak int // since resetPeak, MiB
}

// clockTick is the unit of times in /proc. It is the same on all architectures
// of Linux that Go supports.
const clockTick = 10 * time.Millisecond

// usage reads akd's usage from /proc.
// https://www.kernel.org/doc/html/latest/filesystems/proc.html
func (d *daemon) usage() (u usage, err error) {
	folder := filepath.Join("/proc", strconv.Itoa(d.cmd.Process.Pid))
	if u.cpu, err = cpuTime(d.cmd.Process.Pid); err != nil {
		return usage{}, fmt.Errorf("akd's usage: %w", err)
	}
	status, err := os.ReadFile(filepath.Join(folder, "status"))
	if err != nil {
		return usage{}, fmt.Errorf("akd's usage: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			u.rss = kib >> 10
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			u.peak = kib >> 10
		}
	}
	return u, nil
}

// cpuTime is the CPU time of a process so far, in user and kernel mode.
func cpuTime(pid int) (time.Duration, error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), "stat")
	stat, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	_, afterName, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(afterName)
	const user, system = 11, 12 // fields 14 and 15, less the process id and its name
	if len(fields) <= system {
		return 0, fmt.Errorf("CPU time of process %d: %s has %d fields", pid, path, len(fields))
	}
	var total time.Duration
	for _, field := range []int{user, system} {
		ticks, err := strconv.Atoi(fields[field])
		if err != nil {
			return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
		}
		total += time.Duration(ticks) * clockTick
	}
	return total, nil
}

// resetPeak restarts the measurement of the peak.
func (d *daemon) resetPeak() error {
	const resetPeak = "5" // https://www.kernel.org/doc/html/latest/filesystems/proc.html, clear_refs
	path := filepath.Join("/proc", strconv.Itoa(d.cmd.Process.Pid), "clear_refs")
	if err := os.WriteFile(path, []byte(resetPeak), 0o200); err != nil {
		return fmt.Errorf("reset akd's peak of memory: %w", err)
	}
	return nil
}
