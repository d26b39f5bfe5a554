package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// metricsPort is that of an akd in the local cluster's network.
const metricsPort = "10254"

// daemon is akd, which can be started and stopped more than once.
type daemon struct {
	env     *environment
	args    []string // its whole command line
	metrics string   // address of its metrics

	cmd    *exec.Cmd // nil while it does not run
	exited chan error
}

// newDaemon prepares akd's command line; start starts it.
func newDaemon(ctx context.Context, env *environment) (*daemon, error) {
	program, err := filepath.Abs(env.akd)
	if err != nil {
		return nil, fmt.Errorf("find akd: %w", err)
	}
	if env.simulated {
		return newSimulatedDaemon(ctx, env, program)
	}
	args := append([]string{env.clusters, "--dir", env.dir, "exec", "local", "--", program},
		commonArgs(env.dir, "akd-local.kubeconfig", "akd-remote.kubeconfig")...)
	args = append(args, "--node-address", env.status.AKDAddress, "--kubelet-api-address", env.status.AKDAddress)
	if env.storage {
		file, err := writeStorageConfig(env.dir)
		if err != nil {
			return nil, err
		}
		args = append(args, "--config", file)
	}
	return &daemon{env: env, args: args, metrics: net.JoinHostPort("127.0.0.1", metricsPort)}, nil
}

// newSimulatedDaemon runs akd beside simulated clusters, on loopback. It does
// not use the link: nobody slows it down or cuts it, and its proxy would be a
// cost of AK alone.
func newSimulatedDaemon(ctx context.Context, env *environment, program string) (*daemon, error) {
	metrics, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	kubelet, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(kubelet)
	args := append([]string{program}, commonArgs(env.dir, "akd-local.kubeconfig", "remote.kubeconfig")...)
	args = append(args, "--metrics-address", metrics, "--node-address", "127.0.0.1", "--kubelet-api-address", "127.0.0.1",
		"--kubelet-api-port", port, "--local-api-server", "192.0.2.1:6443") // no simulated pod ever connects to it
	return &daemon{env: env, args: args, metrics: metrics}, nil
}

func commonArgs(dir, local, remote string) []string {
	return []string{
		"--node-name", benchNode,
		"--local-kubeconfig", filepath.Join(dir, local), "--remote-kubeconfig", filepath.Join(dir, remote),
		"--profiling",
	}
}

// freeAddress returns an address on loopback on which nobody listens right now.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String(), nil
}

// start starts akd and waits until it has read both clusters and its node is
// Ready.
func (d *daemon) start(ctx context.Context) error {
	log, err := os.OpenFile(d.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("akd's log: %w", err)
	}
	cmd, exited := exec.Command(d.args[0], d.args[1:]...), make(chan error, 1) //nolint:noctx // a signal stops it, not a context
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		_ = log.Close()
		return fmt.Errorf("start akd: %w", err)
	}
	d.cmd, d.exited = cmd, exited
	go func() {
		exited <- cmd.Wait()
		_ = log.Close()
	}()
	return poll(ctx, "akd is ready", func(ctx context.Context) error {
		select {
		case err := <-exited:
			exited <- err
			return &finalError{fmt.Errorf("akd ended: %w; see %s", err, log.Name())}
		default:
		}
		if _, err := d.get(ctx, "/readyz"); err != nil {
			return err
		}
		return nodeReady(ctx, d.env.clients[localSide])
	})
}

// log is the file of akd's log.
func (d *daemon) log() string { return filepath.Join(d.env.dir, "logs", "akd-bench.log") }

// stop ends akd. It does nothing if akd does not run.
func (d *daemon) stop() error {
	const timeout = time.Minute
	if d.cmd == nil {
		return nil
	}
	defer func() { d.cmd = nil }()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
		return nil
	case <-time.After(timeout):
		_ = d.cmd.Process.Kill()
		<-d.exited
		return errors.New("akd did not end within a minute of SIGTERM")
	}
}

// get reads a path of akd's metrics port. In the clusters' network only a
// program that runs there can reach it.
func (d *daemon) get(ctx context.Context, path string) (string, error) {
	url := "http://" + d.metrics + path
	if !d.env.simulated {
		out, err := exec.CommandContext(ctx, d.env.clusters, "--dir", d.env.dir, "exec", "local", "--", "curl", "-sf", url).Output()
		if err != nil {
			return "", fmt.Errorf("get %s: %w", url, err)
		}
		return string(out), nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("get %s: %w", url, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("get %s: %w", url, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", fmt.Errorf("get %s: %w", url, err)
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("get %s: %s", url, res.Status)
	}
	return string(body), nil
}
