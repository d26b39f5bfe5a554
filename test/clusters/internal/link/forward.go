package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
)

// Forward accepts connections from listener and joins each to a new one to the
// TCP address to, until ctx ends. The listener may belong to another network
// namespace than the caller; the address is dialed from the caller's.
func Forward(ctx context.Context, log *slog.Logger, listener net.Listener, to string) error {
	var connections sync.WaitGroup
	defer connections.Wait()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept connection: %w", err)
		}
		connections.Go(func() {
			if err := join(ctx, conn, to); err != nil {
				log.Debug("connection ended", "to", to, "err", err)
			}
		})
	}
}

// join copies both ways until both sides have closed.
func join(ctx context.Context, near net.Conn, to string) error {
	defer near.Close()
	far, err := new(net.Dialer).DialContext(ctx, "tcp", to)
	if err != nil {
		return err
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	var back sync.WaitGroup
	var backErr error
	back.Go(func() { backErr = pour(near, far) })
	err = pour(far, near)
	back.Wait()
	return errors.Join(err, backErr)
}

// pour copies one direction and passes on its end. After an error both
// connections are closed: half of a broken stream is of no use.
func pour(to, from net.Conn) error {
	_, err := io.Copy(to, from)
	if err != nil {
		return errors.Join(err, to.Close(), from.Close())
	}
	if half, ok := to.(*net.TCPConn); ok {
		return half.CloseWrite()
	}
	return to.Close()
}
