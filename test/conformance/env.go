package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// node is the name of AK's node.
const node = "vk-conformance"

// bed is the test clusters with akd between them.
type bed struct {
	*options
	progress io.Writer
	version  string          // of Kubernetes, both clusters
	of       map[side]string // what each side tests
	isUp     bool
	akd      *exec.Cmd
	exited   chan error
}

func newBed(o *options, progress io.Writer) *bed {
	return &bed{options: o, progress: progress, of: map[side]string{}}
}

// up brings the clusters up and starts akd.
func (b *bed) up(ctx context.Context) error {
	b.isUp = true
	if _, err := b.command(ctx, "up"); err != nil {
		return err
	}
	out, err := b.command(ctx, "status", "-o", "json")
	if err != nil {
		return err
	}
	var status struct {
		AKDAddress string `json:"akdAddress"`
		Simulated  bool   `json:"simulated"`
		Clusters   map[string]struct {
			Version  string `json:"version"`
			Services string `json:"serviceCIDR"`
		} `json:"clusters"`
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return fmt.Errorf("read clusters status: %w", err)
	}
	if status.Simulated {
		return errors.New("the clusters' nodes are simulated: Kubernetes' tests need real containers, so root on Linux")
	}
	b.version = status.Clusters["local"].Version
	if remote := status.Clusters["remote"].Version; remote != b.version {
		return fmt.Errorf("the clusters are Kubernetes %s and %s: the tests are of one version, so choose the same", b.version, remote)
	}
	identity, err := identify(b.options.akd)
	if err != nil {
		return err
	}
	b.of[direct], b.of[through] = b.version, b.version+" akd "+identity+" --services="+b.services
	if b.services != "none" {
		if err := b.addServiceRange(ctx, status.Clusters["local"].Services); err != nil {
			return err
		}
	}
	return b.startAKD(ctx, status.AKDAddress)
}

// addServiceRange lets the remote cluster have Services with addresses of the
// local one.
func (b *bed) addServiceRange(ctx context.Context, addresses string) error {
	const name = "local-services"
	file := filepath.Join(b.out, name+".yaml")
	manifest := fmt.Sprintf("apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: %s}\nspec: {cidrs: [%q]}\n", name, addresses)
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		return fmt.Errorf("write the range of service addresses: %w", err)
	}
	if _, err := b.command(ctx, "kubectl", "remote", "apply", "-f", file); err != nil {
		return err
	}
	_, err := b.command(ctx, "kubectl", "remote", "wait", "--for=condition=Ready", "servicecidr/"+name, "--timeout=1m")
	return err
}

// identify tells one build of a program from another.
func identify(program string) (string, error) {
	file, err := os.Open(program)
	if err != nil {
		return "", fmt.Errorf("find akd: %w", err)
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", fmt.Errorf("read akd: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)[:6]), nil
}

// startAKD starts akd and waits until its node is Ready. The tests' namespaces
// allow privileged pods, and so must their remote ones.
func (b *bed) startAKD(ctx context.Context, address string) error {
	program, err := filepath.Abs(b.options.akd)
	if err != nil {
		return fmt.Errorf("find akd: %w", err)
	}
	log, err := os.Create(filepath.Join(b.out, "akd.log"))
	if err != nil {
		return fmt.Errorf("akd's log: %w", err)
	}
	b.akd = exec.Command(b.clusters, "--dir", b.dir, "exec", "local", "--", program, //nolint:noctx // it is stopped by a signal, not by a context
		"--node-name", node, "--pod-security", "privileged", "--services", b.services,
		"--local-kubeconfig", filepath.Join(b.dir, "akd-local.kubeconfig"),
		"--remote-kubeconfig", filepath.Join(b.dir, "akd-remote.kubeconfig"),
		"--node-address", address, "--kubelet-api-address", address)
	b.akd.Stdout, b.akd.Stderr = log, log
	b.exited = make(chan error, 1)
	if err := b.akd.Start(); err != nil {
		return fmt.Errorf("start akd: %w", err)
	}
	go func() {
		b.exited <- b.akd.Wait()
		_ = log.Close()
	}()
	return b.waitReady(ctx)
}

func (b *bed) waitReady(ctx context.Context) error {
	const patience = 2 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if err := b.alive(); err != nil {
			return err
		}
		out, err := b.command(ctx, "kubectl", "local", "get", "node", node,
			"-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
		if err == nil && string(out) == "True" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %s is not Ready: %w; see %s", node, cmp.Or(err, ctx.Err()), filepath.Join(b.out, "akd.log"))
		case <-time.After(time.Second):
		}
	}
}

// alive returns an error when akd has ended, which it should not.
func (b *bed) alive() error {
	select {
	case err := <-b.exited:
		b.exited <- err
		return fmt.Errorf("akd has ended (%w): see %s", cmp.Or(err, errors.New("exit status 0")), filepath.Join(b.out, "akd.log"))
	default:
		return nil
	}
}

// tests builds Kubernetes' own tests, or finds them built.
func (b *bed) tests(ctx context.Context) (tests, error) {
	out, err := b.command(ctx, "tests", "--version", b.version)
	if err != nil {
		return tests{}, err
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, file, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			files[name] = file
		}
	}
	return tests{program: files["e2e.test"], runner: files["ginkgo"], kubectl: files["kubectl"]}, nil
}

// kubeconfig is of the API server that a side's specs talk to.
func (b *bed) kubeconfig(s side) string {
	name := "local.kubeconfig"
	if s == direct {
		name = "remote.kubeconfig"
	}
	path := filepath.Join(b.dir, name)
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	return path
}

// down stops akd, and the clusters unless they are to stay.
func (b *bed) down(ctx context.Context) error {
	const patience = time.Minute
	var err error
	if b.exited != nil {
		_ = b.akd.Process.Signal(syscall.SIGTERM)
		select {
		case <-b.exited:
		case <-time.After(patience):
			_ = b.akd.Process.Kill()
			<-b.exited
			err = errors.New("akd did not end within a minute of SIGTERM")
		}
	}
	if !b.isUp || b.keep {
		return err
	}
	_, downErr := b.command(ctx, "down")
	return errors.Join(err, downErr)
}

// command runs a clusters command and returns what it prints.
func (b *bed) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.clusters, append([]string{"--dir", b.dir}, args...)...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, io.MultiWriter(&stderr, quiet(args, b.progress))
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("clusters %s: %w: %s", args[0], err, strings.TrimSpace(lastLines(stderr.String())))
	}
	return out.Bytes(), nil
}

// quiet shows the progress of the commands that take their time.
func quiet(args []string, progress io.Writer) io.Writer {
	if args[0] == "kubectl" || args[0] == "status" {
		return io.Discard
	}
	return progress
}
