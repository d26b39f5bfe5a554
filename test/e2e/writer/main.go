//go:build e2e

// Command writer is the only writer of a volume, or says that it is not. It is the container
// of pods of which no two may run at once.
//
// Of a folder it locks the file lock, and adds the name of its host to the file log. If
// another process has the lock, it adds the name to the file conflicts, and fails. The first
// one gives the volume a marker, a text that no other volume has, in the file marker. Asked
// to end, it holds the lock for some seconds more, as a database does that writes its last
// pages.
//
// Its termination message, for those who do not see the volume, is the marker that it has
// found or given, or Conflict.
//
//	writer /data
//	writer -for 3s -exit 4 /data
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// lastPages is how long the writer goes on when it is asked to end.
const lastPages = 3 * time.Second

// conflict is the message of a writer that is not the only one.
const conflict = "another process writes"

// messages is where a container leaves its termination message.
// https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
const messages = "/dev/termination-log"

func main() {
	length := flag.Duration("for", 0, "how long it writes; 0 for until it is asked to end")
	code := flag.Int("exit", 0, "its exit code if it ends by itself")
	flag.Parse()
	ended, err := run(flag.Arg(0), *length)
	if err != nil {
		fmt.Fprintln(os.Stderr, "writer:", err)
		os.Exit(1)
	}
	if ended {
		os.Exit(*code)
	}
}

// run reports whether the writer ended by itself.
func run(dir string, length time.Duration) (ended bool, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	defer func() { _ = lock.Close() }() // its end lets go of the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		say(conflict)
		return false, errors.Join(err, add(dir, "conflicts"))
	}
	found, err := mark(filepath.Join(dir, "marker"))
	if err != nil {
		return false, err
	}
	say(found)
	if err := add(dir, "log"); err != nil {
		return false, err
	}
	var over <-chan time.Time // never
	if length > 0 {
		over = time.After(length)
	}
	select {
	case <-over:
		return true, nil
	case <-ctx.Done():
		<-time.After(lastPages)
		return false, nil
	}
}

// mark returns the marker in a file. The first one to ask gives it, whole or not at all.
func mark(file string) (string, error) {
	content, err := os.ReadFile(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return string(content), err
	}
	marker := rand.Text()
	if err := os.WriteFile(file+".new", []byte(marker), 0o600); err != nil {
		return "", err
	}
	return marker, os.Rename(file+".new", file)
}

// say leaves a termination message, if it is in a container.
func say(message string) {
	file, err := os.OpenFile(messages, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return
	}
	_, _ = file.WriteString(message)
	_ = file.Close()
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
