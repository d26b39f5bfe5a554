package process

import (
	"fmt"
	"os"
	"syscall"
)

// Trampoline turns the calling process into the program that its arguments
// (os.Args) name, when they are those that Table.Start gives; otherwise it does
// nothing and returns. A main function calls it before anything else.
func Trampoline(args []string) {
	if len(args) != 3 || args[1] != enterCommand {
		return
	}
	spec, err := readSpec(args[2])
	if err == nil {
		err = Exec(spec)
	}
	fmt.Fprintf(os.Stderr, "start %s: %v\n", spec.Name, err)
	os.Exit(1) //nolint:revive // it stands for the program that it was to become
}

// Exec replaces the calling process with the program of spec, in the namespaces
// and control groups of spec. It keeps the pid, the standard streams and the
// caller's environment (spec.Env is not used), and returns only if it fails.
func Exec(spec Spec) error {
	if err := enter(spec.Enter); err != nil {
		return err
	}
	err := syscall.Exec(spec.Path, append([]string{spec.Path}, spec.Args...), os.Environ())
	return fmt.Errorf("execute %s: %w", spec.Path, err)
}
