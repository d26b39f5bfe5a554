package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// enter moves the calling thread, for good, into e. Execve makes that thread
// the whole process.
func enter(e Enter) error {
	runtime.LockOSThread()
	for _, procs := range e.CgroupProcs {
		if err := os.WriteFile(procs, []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			return fmt.Errorf("join control group: %w", err)
		}
	}
	if e.NetNS != "" {
		if err := setns(e.NetNS, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("join network namespace: %w", err)
		}
	}
	if e.MountNS != "" {
		// A thread that shares its working folder with others may not change
		// its mount namespace (setns(2)).
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("leave shared folder state: %w", err)
		}
		if err := setns(e.MountNS, unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("join mount namespace: %w", err)
		}
	}
	if len(e.Private) > 0 {
		return mountPrivately(e.Private)
	}
	return nil
}

func setns(path string, kind int) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), kind); err != nil {
		return fmt.Errorf("setns %s: %w", path, err)
	}
	return nil
}

// mountPrivately gives the thread a mount namespace of its own with the mounts.
func mountPrivately(mounts []Mount) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make mount namespace: %w", err)
	}
	// The tie to the machine's mounts is cut first. The mounts are made before they are
	// shared, so that what is mounted in one of them is not in its source as well.
	if err := propagate(unix.MS_PRIVATE); err != nil {
		return err
	}
	for _, mount := range mounts {
		if err := mount.make(); err != nil {
			return fmt.Errorf("mount %s on %s: %w", mount.Kind, mount.Target, err)
		}
	}
	// Inside the namespace only: Bidirectional mount propagation needs it.
	return propagate(unix.MS_SHARED)
}

func propagate(how uintptr) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|how, ""); err != nil {
		return fmt.Errorf("set mount propagation: %w", err)
	}
	return nil
}

func (m Mount) make() error {
	switch m.Kind {
	case Bind:
		return m.bind()
	case Overlay:
		return m.overlay()
	case Content:
		return m.content()
	}
	return fmt.Errorf("unknown kind %q", m.Kind)
}

func (m Mount) bind() error {
	if err := os.MkdirAll(m.Target, 0o755); err != nil {
		return err
	}
	return unix.Mount(m.Source, m.Target, "", unix.MS_BIND|unix.MS_REC, "")
}

// overlay keeps the upper layer on a tmpfs: the run folder's own file system
// may be one that cannot hold it (another overlay).
func (m Mount) overlay() error {
	if err := os.MkdirAll(m.Source, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", m.Source, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	upper, work := filepath.Join(m.Source, "upper"), filepath.Join(m.Source, "work")
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", m.Target, upper, work)
	return unix.Mount("overlay", m.Target, "overlay", 0, options)
}

// content shows a fixed text at an existing file. It ignores a file that does not
// exist, because nothing would read it.
func (m Mount) content() error {
	if _, err := os.Stat(m.Target); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	file, err := os.CreateTemp("", "content-*")
	if err != nil {
		return err
	}
	// The mount keeps the unlinked file alive.
	defer os.Remove(file.Name())
	_, err = file.WriteString(m.Source)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(file.Name(), 0o644)
	}
	if err != nil {
		return err
	}
	return unix.Mount(file.Name(), m.Target, "", unix.MS_BIND, "")
}
