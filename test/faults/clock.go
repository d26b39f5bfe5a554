package faults

import (
	"errors"
	"strings"
)

// Environment variables of an akd whose clock is shifted: by how much, and how long
// after its start. Both are Go durations.
const (
	clockShift = "FAULTS_CLOCK_SHIFT"
	clockAfter = "FAULTS_CLOCK_AFTER"
)

// shiftFile is the Go file that shiftedTime needs beside it in package time. Timers
// run on, as after a step of a machine's clock: they use the monotonic clock.
const shiftFile = `package time

import "syscall"

var shiftBy, shiftAfter = shiftOf("` + clockShift + `"), shiftOf("` + clockAfter + `")

func shiftOf(name string) Duration {
	value, _ := syscall.Getenv(name)
	parsed, _ := ParseDuration(value)
	return parsed
}

func shiftedNow() (sec int64, nsec int32, mono int64) {
	sec, nsec, mono = runtimeNow()
	if mono-startNano > int64(shiftAfter) {
		sec += int64(shiftBy / Second)
	}
	return sec, nsec, mono
}
`

// shiftedTime returns Go's own time.go, changed so that Now is what shiftFile says.
// No library can shift the clock of a Go program from outside: it reads the clock
// without libc, and a time namespace shifts the monotonic clock only.
// https://man7.org/linux/man-pages/man7/time_namespaces.7.html
func shiftedTime(source string) (string, error) {
	const head, now = "func Now() Time {\n\tsec, nsec, mono := ", "runtimeNow()"
	if strings.Count(source, head+now) != 1 {
		return "", errors.New("time.Now of this Go reads the clock in another way: change shiftedTime")
	}
	return strings.Replace(source, head+now, head+"shiftedNow()", 1), nil
}
