package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Group is the tree of control groups of one run: the folder Name in each
// hierarchy below Root.
type Group struct {
	// Root is where hierarchies are mounted, normally /sys/fs/cgroup.
	Root string
	// Name is the folder's name, unique per run.
	Name string
}

// unified reports whether Root itself is a version 2 hierarchy.
func (g Group) unified() bool {
	_, err := os.Stat(filepath.Join(g.Root, "cgroup.controllers"))
	return err == nil
}

// hierarchies returns the mounted hierarchies. The version 2 one that sits
// beside version 1 on a hybrid machine has no controllers and counts as well:
// container runtimes use it.
func (g Group) hierarchies() ([]string, error) {
	if g.unified() {
		return []string{g.Root}, nil
	}
	entries, err := os.ReadDir(g.Root)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		dir := filepath.Join(g.Root, entry.Name())
		// cpu,cpuacct is often one hierarchy with links for its parts.
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			found = append(found, dir)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no control group hierarchy below %s: mount one first", g.Root)
	}
	return found, nil
}

// Make creates the control group sub (one folder deep) in every hierarchy,
// ready for a kubelet to make its own below.
func (g Group) Make(sub string) error {
	hierarchies, err := g.hierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range hierarchies {
		parent := hierarchy
		for _, part := range []string{g.Name, sub} {
			dir := filepath.Join(parent, part)
			if err := g.makeOne(parent, dir); err != nil {
				return fmt.Errorf("make control group %s: %w", dir, err)
			}
			parent = dir
		}
	}
	return nil
}

func (g Group) makeOne(parent, dir string) error {
	if g.unified() {
		// Controllers reach a group only when its parent passes them on.
		if err := passControllers(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// A version 1 cpuset admits no process until both lists are filled.
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if err := inherit(parent, dir, file); err != nil {
			return err
		}
	}
	return nil
}

func passControllers(dir string) error {
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for controller := range strings.FieldsSeq(string(available)) {
		err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0)
		// If the machine keeps a controller that the kubelet needs, the kubelet
		// reports that.
		if err != nil && !errors.Is(err, syscall.ENOTSUP) && !errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("pass on the %s controller: %w", controller, err)
		}
	}
	return nil
}

func inherit(parent, dir, file string) error {
	have, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil || strings.TrimSpace(string(have)) != "" {
		return nil //nolint:nilerr // not a cpuset hierarchy, or filled already
	}
	want, err := os.ReadFile(filepath.Join(parent, file))
	if err != nil || strings.TrimSpace(string(want)) == "" {
		return nil //nolint:nilerr // version 2's root has none and needs none
	}
	return os.WriteFile(filepath.Join(dir, file), want, 0)
}

// Procs returns the cgroup.procs files through which a process joins sub. One
// hierarchy is enough: they serve to find the process again.
func (g Group) Procs(sub string) ([]string, error) {
	hierarchies, err := g.hierarchies()
	if err != nil {
		return nil, err
	}
	best := hierarchies[0]
	for _, hierarchy := range hierarchies {
		// Freezer and pids count processes, but limit nothing by default.
		if base := filepath.Base(hierarchy); base == "pids" {
			best = hierarchy
		}
	}
	return []string{filepath.Join(best, g.Name, sub, "cgroup.procs")}, nil
}

// folders returns all folders below sub ("" is the run's own), deepest first.
func (g Group) folders(sub string) ([]string, error) {
	hierarchies, err := g.hierarchies()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, hierarchy := range hierarchies {
		top := filepath.Join(hierarchy, g.Name, sub)
		err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && entry.IsDir() {
				found = append(found, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Reverse(found)
	return found, nil
}

// PIDs returns the processes in sub ("" is the run's own) and below.
func (g Group) PIDs(sub string) ([]int, error) {
	folders, err := g.folders(sub)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, folder := range folders {
		data, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
		if err != nil {
			continue // the group went away, and its processes with it
		}
		for field := range strings.FieldsSeq(string(data)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// Remove kills every process in the run's control groups except the caller's
// own, and removes the groups. It returns when both are gone, and succeeds if
// there was nothing.
func (g Group) Remove(ctx context.Context) error {
	return retry(ctx, func() (left string, err error) {
		if _, err := g.kill(""); err != nil {
			return "", err
		}
		return g.prune()
	})
}

// Empty kills every process in the groups subs and below, and returns when they
// are gone. The groups stay.
func (g Group) Empty(ctx context.Context, subs ...string) error {
	return retry(ctx, func() (left string, err error) {
		for _, sub := range subs {
			pids, err := g.kill(sub)
			if err != nil {
				return "", err
			}
			if len(pids) > 0 {
				left = sub
			}
		}
		return left, nil
	})
}

// retry calls step until nothing is left.
func retry(ctx context.Context, step func() (left string, err error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := step()
		if err != nil || left == "" {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("empty control group %s: processes remain: %w", left, ctx.Err())
		case <-tick.C:
		}
	}
}

func (g Group) kill(sub string) ([]int, error) {
	pids, err := g.PIDs(sub)
	if err != nil {
		return nil, err
	}
	pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == os.Getpid() })
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return nil, fmt.Errorf("kill pid %d: %w", pid, err)
		}
	}
	return pids, nil
}

// prune removes the groups that are empty and returns one that is not.
func (g Group) prune() (left string, err error) {
	folders, err := g.folders("")
	if err != nil {
		return "", err
	}
	for _, folder := range folders {
		// Only rmdir: the files of a control group cannot be removed.
		err := syscall.Rmdir(folder)
		if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ENOTEMPTY) {
			left = folder
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("remove control group %s: %w", folder, err)
		}
	}
	return left, nil
}
