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
func (e *Env) dialLocal(ctx context.Context, network, address string) (net.Conn, error) {
	return doIn(e.network, func() (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, network, address) })
}

// listenLocal listens on loopback within the local cluster's network.
func (e *Env) listenLocal(ctx context.Context) (net.Listener, error) {
	return doIn(e.network, func() (net.Listener, error) { return (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0") })
}

// doIn does something in a network namespace.
func doIn[R any](namespace string, do func() (R, error)) (result R, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread is in another network, and ends with the
		// goroutine.
		runtime.LockOSThread()
		if err = enter(namespace); err == nil {
			result, err = do()
		}
	}()
	<-done
	return result, err
}

func enter(namespace string) error {
	file, err := os.Open(namespace)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", namespace, err)
	}
	return nil
}
