package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The needs of a run, measured and rounded up.
const (
	diskPerRun  = 512 << 20
	diskPerNode = 1 << 30
	// inotify instances: if the kernel has no more of them for the user,
	// components fail minutes later with "too many open files".
	watchesPerRun  = 30
	watchesPerNode = 9
)

// checkLimits rejects a plan for which the machine is too small.
func (l *Lab) checkLimits(plan Plan) error {
	nodes := plan.LocalNodes + plan.RemoteNodes
	if plan.Simulated {
		nodes = 0
	}
	if err := enoughDisk(l.Dir, diskPerRun+uint64(nodes)*diskPerNode); err != nil {
		return err
	}
	data, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		return nil //nolint:nilerr // not Linux: no such limit
	}
	return enoughWatches(string(data), watchesInUse(), nodes)
}

// watchesInUse counts the inotify instances of the user's processes, those of other
// clusters above all. It counts what it may read.
func watchesInUse() int {
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0
	}
	used := 0
	for _, link := range links {
		process, err := os.Stat(filepath.Dir(filepath.Dir(link)))
		if err != nil {
			continue
		}
		owner, ok := process.Sys().(*syscall.Stat_t)
		target, err := os.Readlink(link)
		if ok && err == nil && int(owner.Uid) == os.Getuid() && target == "anon_inode:inotify" {
			used++
		}
	}
	return used
}

func enoughWatches(limit string, used, nodes int) error {
	have, err := strconv.Atoi(strings.TrimSpace(limit))
	if err != nil {
		return fmt.Errorf("read the limit of inotify instances: %w", err)
	}
	need := watchesPerRun + nodes*watchesPerNode
	if have-used < need {
		return mistakef("%d nodes need about %d inotify instances, and a user may have %d, of which %d are in use: stop other clusters, "+
			"choose fewer nodes, or run sysctl -w fs.inotify.max_user_instances=%d", nodes, need, have, used, 2*(used+need))
	}
	return nil
}

func enoughDisk(dir string, need uint64) error {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return fmt.Errorf("read the free space of %s: %w", dir, err)
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < need {
		return mistakef("%s has %d MiB free and the clusters need %d: free some space, or choose another --dir", dir, free>>20, need>>20)
	}
	return nil
}
