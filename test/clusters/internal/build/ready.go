package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ready checks the causes of failures that would otherwise show minutes later.
func (b *Builder) ready(ctx context.Context, cache string, missing []recipe) error {
	if _, err := exec.LookPath("go"); err != nil {
		return &Error{What: "build " + missing[0].name +
			": there is no go command: install Go 1.26 or later from https://go.dev/dl and put it on PATH"}
	}
	for _, r := range missing {
		if !r.cgo && r.c == "" {
			continue
		}
		if err := compilerReady(r); err != nil {
			return err
		}
	}
	return b.diskReady(ctx, cache, missing)
}

func compilerReady(r recipe) error {
	for _, program := range []string{"gcc", "pkg-config"} {
		if _, err := exec.LookPath(program); err != nil {
			return &Error{What: fmt.Sprintf(
				"build %s: there is no %s: as root, apt-get install gcc libc6-dev libseccomp-dev pkg-config", r.name, program)}
		}
	}
	return nil
}

// diskReady compares the space that a first build takes with the free space. Go's
// caches may hold part of it already, but only a build would show that.
func (b *Builder) diskReady(ctx context.Context, cache string, missing []recipe) error {
	var total space
	for _, r := range missing {
		total.programs += r.space.programs
		total.packages += r.space.packages
		total.modules += r.space.modules
	}
	if total == (space{}) {
		return nil
	}
	var goEnv struct{ GOCACHE, GOMODCACHE string }
	if err := b.goJSON(ctx, missing[0], cache, &goEnv, "env", "-json", "GOCACHE", "GOMODCACHE"); err != nil {
		return err
	}
	return checkDisks([]need{{cache, total.programs}, {goEnv.GOCACHE, total.packages}, {goEnv.GOMODCACHE, total.modules}}, statDisk)
}

// need is the space that a folder takes, in MiB.
type need struct {
	folder string
	mib    uint64
}

// disk is a file system and its free space, in MiB.
type disk struct{ id, free uint64 }

// checkDisks adds up the needs of each disk, and names those it cannot meet.
func checkDisks(needs []need, stat func(string) (disk, error)) error {
	sums, folders, free := map[uint64]uint64{}, map[uint64][]string{}, map[uint64]uint64{}
	for _, n := range needs {
		d, err := stat(n.folder)
		if err != nil {
			return fmt.Errorf("read the free space of %s: %w", n.folder, err)
		}
		sums[d.id] += n.mib
		folders[d.id] = append(folders[d.id], n.folder)
		free[d.id] = d.free
	}
	var errs []error
	for id, sum := range sums {
		if sum > free[id] {
			errs = append(errs, &Error{What: fmt.Sprintf(
				"a first build may take %d MiB in %s, and %d MiB are free: "+
					"free some space, or set XDG_CACHE_HOME, GOCACHE and GOMODCACHE to folders on another disk",
				sum, strings.Join(folders[id], " and "), free[id])})
		}
	}
	return errors.Join(errs...)
}

// statDisk reads the disk of a folder that need not exist yet.
func statDisk(folder string) (disk, error) {
	var file unix.Stat_t
	err := unix.Stat(folder, &file)
	for errors.Is(err, os.ErrNotExist) && folder != filepath.Dir(folder) {
		folder = filepath.Dir(folder)
		err = unix.Stat(folder, &file)
	}
	if err != nil {
		return disk{}, err
	}
	var system unix.Statfs_t
	if err := unix.Statfs(folder, &system); err != nil {
		return disk{}, err
	}
	free := system.Bavail * uint64(system.Bsize) >> 20 //nolint:gosec // signs differ between systems
	return disk{id: uint64(file.Dev), free: free}, nil //nolint:unconvert // types differ between systems
}
