//go:build e2e

// Command writer is the only writer of a volume, or says that it is not. It is the container
// of pods of which no two may run at once.
//
// Of a folder it locks the file lock, and adds the name of its host to the file log. If
// another process has the lock, it adds the name to the file conflicts, and fails. Asked to
// end, it holds the lock for some seconds more, as a database does that writes its last pages.
//
//	writer /data
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// lastPages is how long the writer goes on when it is asked to end.
const lastPages = 3 * time.Second

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "writer:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // its end lets go of the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(err, add(dir, "conflicts"))
	}
	if err := add(dir, "log"); err != nil {
		return err
	}
	<-ctx.Done()
	<-time.After(lastPages)
	return nil
}

// add adds the name of the host to a file.
func add(dir, name string) error {
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err == nil {
		_, err = fmt.Fprintln(file, host)
	}
	return errors.Join(err, file.Close())
}
