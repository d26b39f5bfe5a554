//go:build !linux

package process

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// startTime uses ps(1), the only way that all other Unixes share.
func startTime(pid int) (string, error) {
	out, err := exec.Command("ps", "-o", "stat=", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return "", err
	}
	state, start, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if state == "" || strings.HasPrefix(state, "Z") {
		return "", syscall.ESRCH
	}
	return strings.TrimSpace(start), nil
}

// Strays returns nothing: other systems do not show the environment.
func (t Table) Strays() []Record { return nil }
