package csi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// backing identifies what a loop device shows: a file by its inode, or another
// device by its number. Paths would not do: a node's mount namespace may be gone.
type backing struct{ device, inode, number uint64 }

func backingOf(path string) (backing, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return backing{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return backing{device: stat.Dev, inode: stat.Ino}, nil
}

// loop is a loop device that is in use.
type loop struct {
	path string
	of   backing
}

// loops returns all that are in use on this machine.
func loops() ([]loop, error) {
	// The folder is there as long as the device shows something.
	found, err := filepath.Glob("/sys/block/loop*/loop")
	if err != nil {
		return nil, err
	}
	var all []loop
	for _, folder := range found {
		path := filepath.Join("/dev", filepath.Base(filepath.Dir(folder)))
		info, err := loopStatus(path)
		if errors.Is(err, unix.ENXIO) || errors.Is(err, fs.ErrNotExist) {
			continue // not any more
		}
		if err != nil {
			return nil, fmt.Errorf("read state of %s: %w", path, err)
		}
		all = append(all, loop{path: path, of: backing{device: info.Device, inode: info.Inode, number: info.Rdevice}})
	}
	return all, nil
}

func loopStatus(path string) (*unix.LoopInfo64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return unix.IoctlLoopGetStatus64(int(file.Fd()))
}

// loopOf returns the path of the file's loop device, or nothing if it has none.
func loopOf(file string) (string, error) {
	of, err := backingOf(file)
	if err != nil {
		return "", err
	}
	all, err := loops()
	if err != nil {
		return "", err
	}
	for _, one := range all {
		if one.of.device == of.device && one.of.inode == of.inode {
			return one.path, nil
		}
	}
	return "", nil
}

// attach gives the file a loop device, unless it has one, and returns its path.
func attach(file string) (string, error) {
	path, err := loopOf(file)
	if err != nil || path != "" {
		return path, err
	}
	opened, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer opened.Close()
	const attempts = 100
	for range attempts {
		path, err := attachFree(opened)
		if !errors.Is(err, unix.EBUSY) { // another program took it
			return path, err
		}
	}
	return "", fmt.Errorf("give %s a loop device: each free one was taken by others", file)
}

func attachFree(file *os.File) (string, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return "", fmt.Errorf("find a free loop device: %w", err)
	}
	path := fmt.Sprintf("/dev/loop%d", number)
	device, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer device.Close()
	err = unix.IoctlLoopConfigure(int(device.Fd()), &unix.LoopConfig{Fd: uint32(file.Fd())}) //nolint:gosec // descriptors are small
	if err != nil {
		return "", fmt.Errorf("give %s the loop device %s: %w", file.Name(), path, err)
	}
	return path, nil
}

// detach takes the loop devices off the file; one that is open goes when it is
// closed.
func detach(file string) error {
	of, err := backingOf(file)
	if err != nil {
		return err
	}
	return release([]backing{of})
}

// release takes all loop devices off these files, and those devices first that
// show such a device themselves: a kubelet puts one on each device that a pod uses.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/volume/util/volumepathhandler/volume_path_handler_linux.go
func release(files []backing) error {
	all, err := loops()
	if err != nil {
		return err
	}
	var order []loop
	for again := true; again; {
		again = false
		for _, one := range all {
			if slices.Contains(order, one) || !slices.ContainsFunc(files, one.shows) {
				continue
			}
			of, err := numberOf(one.path)
			if err != nil {
				return err
			}
			order, files, again = append(order, one), append(files, of), true
		}
	}
	var errs []error
	for _, one := range slices.Backward(order) {
		errs = append(errs, free(one.path))
	}
	return errors.Join(errs...)
}

func (l loop) shows(of backing) bool {
	if of.number != 0 {
		return l.of.number == of.number
	}
	return l.of.device == of.device && l.of.inode == of.inode
}

// numberOf identifies a device by its number.
func numberOf(path string) (backing, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return backing{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return backing{number: stat.Rdev}, nil
}

func free(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.IoctlSetInt(int(file.Fd()), unix.LOOP_CLR_FD, 0); err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("take loop device %s off its file: %w", path, err)
	}
	return nil
}

// resize makes the file's loop device, if there is one, as large as the file.
func resize(file string) error {
	path, err := loopOf(file)
	if err != nil || path == "" {
		return err
	}
	device, err := os.Open(path)
	if err != nil {
		return err
	}
	defer device.Close()
	if err := unix.IoctlSetInt(int(device.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("resize %s: %w", path, err)
	}
	return nil
}

// Release takes the loop devices off all volumes in dir, which need not exist. All
// programs that used them must have ended.
func Release(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*", "disk"))
	if err != nil {
		return err
	}
	all := make([]backing, 0, len(files))
	for _, file := range files {
		of, err := backingOf(file)
		if err != nil {
			return err
		}
		all = append(all, of)
	}
	if len(all) == 0 {
		return nil
	}
	return release(all)
}
