package csi

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// bind shows source at target as well, unless it does so already.
func bind(source, target string, readOnly bool) error {
	mounted, err := isMounted(target)
	if err != nil {
		return err
	}
	if !mounted {
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", source, target, err)
		}
	}
	if !readOnly {
		return nil
	}
	// The first call of a bind mount ignores all other flags: mount(2).
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return errors.Join(fmt.Errorf("make %s read-only: %w", target, err), unmount(target))
	}
	return nil
}

// unmount takes all mounts off target.
func unmount(target string) error {
	for {
		mounted, err := isMounted(target)
		if err != nil || !mounted {
			return err
		}
		if err := unix.Unmount(target, 0); err != nil {
			return fmt.Errorf("unmount %s: %w", target, err)
		}
	}
}

// mount is a line of /proc/self/mountinfo: root, a path in a file system, is
// shown at point.
type mount struct{ root, point string }

func mounts() ([]mount, error) {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var all []mount
	for line := range strings.Lines(string(content)) {
		const root, point = 3, 4 // proc(5) counts them from 1
		fields := strings.Fields(line)
		if len(fields) <= point {
			return nil, fmt.Errorf("read /proc/self/mountinfo: unknown format: %q", line)
		}
		all = append(all, mount{root: unescape.Replace(fields[root]), point: unescape.Replace(fields[point])})
	}
	return all, nil
}

func isMounted(target string) (bool, error) {
	all, err := mounts()
	return slices.ContainsFunc(all, func(m mount) bool { return m.point == target }), err
}

// mountsOf returns where something is shown whose path ends in suffix.
func mountsOf(suffix string) ([]string, error) {
	all, err := mounts()
	var points []string
	for _, m := range all {
		if strings.HasSuffix(m.root, "/"+suffix) {
			points = append(points, m.point)
		}
	}
	return points, err
}
