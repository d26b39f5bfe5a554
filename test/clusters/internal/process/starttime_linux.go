package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// startTime returns field 22 of /proc/PID/stat (proc(5)) together with the boot
// it counts from. A zombie counts as gone.
func startTime(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The command name, in parentheses, may hold anything, so count after it.
	_, rest, ok := strings.Cut(string(data[bytes.LastIndexByte(data, ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return "", fmt.Errorf("read /proc/%d/stat: unknown format", pid)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return "", syscall.ESRCH
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[19], nil
}

// Strays returns the processes whose environment carries the table's identity,
// recorded or not. It sees only processes that the caller may inspect.
func (t Table) Strays() []Record {
	want := []byte(Marker + "=" + t.Identity)
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	var found []Record
	for _, path := range paths {
		environ, err := os.ReadFile(path)
		if err != nil || !hasVariable(environ, want) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if start, err := startTime(pid); err == nil {
			found = append(found, Record{Name: "stray", PID: pid, Start: start})
		}
	}
	return found
}

func hasVariable(environ, want []byte) bool {
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if bytes.Equal(variable, want) {
			return true
		}
	}
	return false
}
