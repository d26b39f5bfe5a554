package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// proxyName is the name of the link's only proxy in toxiproxy's API.
const proxyName = "remote"

// ServeProxy carries connections from the TCP address listen to the TCP address
// upstream until ctx ends. The unix socket control controls it.
func ServeProxy(ctx context.Context, listen, upstream, control string) error {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.New(os.Stderr).Level(zerolog.WarnLevel))
	proxy := toxiproxy.NewProxy(server, proxyName, listen, upstream)
	if err := server.Collection.Add(proxy, true); err != nil {
		return fmt.Errorf("listen on %s: %w", listen, err)
	}
	defer proxy.Stop()
	orders, err := listenUnix(control)
	if err != nil {
		return err
	}
	api := &http.Server{Handler: server.Routes(), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = api.Close() })
	defer stop()
	if err := api.Serve(orders); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve link control: %w", err)
	}
	return nil
}

// listenUnix uses a short name: a socket's path may have 107 bytes at most, and a
// run folder deep in a tree exceeds that.
func listenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	short, done, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer done()
	listener, err := net.Listen("unix", short)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return listener, os.Chmod(path, 0o600)
}

// shorten returns another name of path that holds until done is called.
func shorten(path string) (short string, done func(), err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	done = func() { _ = dir.Close() }
	short = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	if _, err := os.Stat(filepath.Dir(short)); err != nil {
		return path, done, nil //nolint:nilerr // no /proc here: the long name must do
	}
	return short, done, nil
}
