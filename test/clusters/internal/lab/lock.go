package lab

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lock keeps other commands from changing the run until unlock is called. The
// kernel drops it with the process, so a killed command leaves none.
func (l *Lab) lock(ctx context.Context) (unlock func(), err error) {
	// The lock is on the folder itself: Down would have to remove a file inside
	// while it is locked.
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	waiting := false
	for {
		if err := os.MkdirAll(l.Dir, 0o700); err != nil {
			return nil, mistakef("cannot make the run folder: %v: choose another --dir", err)
		}
		file, err := os.Open(l.Dir)
		if errors.Is(err, fs.ErrPermission) {
			return nil, mistakef("%s belongs to another user: run this command as that user", l.Dir)
		}
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && sameFile(file, l.Dir) {
			return func() { _ = file.Close() }, nil
		}
		_ = file.Close()
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
		if !waiting {
			waiting = true
			l.env.Report("waiting for another command that works on %s", filepath.Base(l.Dir))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// sameFile reports whether path still names the open file: the previous owner of
// the lock may have removed the folder.
func sameFile(file *os.File, path string) bool {
	open, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(open, named)
}
