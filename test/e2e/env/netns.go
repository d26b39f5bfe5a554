//go:build e2e

package env

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// dialLocal connects from within the local cluster's network, where akd
// listens.
func (e *Env) dialLocal(ctx context.Context, network, address string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread is in another network, and ends with the
		// goroutine.
		runtime.LockOSThread()
		conn, err = dialIn(ctx, e.network, network, address)
	}()
	<-done
	return conn, err
}

func dialIn(ctx context.Context, namespace, network, address string) (net.Conn, error) {
	file, err := os.Open(namespace)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter network namespace %s: %w", namespace, err)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}
