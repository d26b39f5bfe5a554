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

// environment is the test clusters with akd between them.
type environment struct {
	*options
	progress io.Writer
	version  string          // of Kubernetes, in both clusters
	subject  map[side]string // what each side tests
	akd      *exec.Cmd
	exited   chan error
}

// start brings the clusters up and starts akd. Whatever has been started when
// it fails is stopped again.
func start(ctx context.Context, o *options, progress io.Writer) (_ *environment, err error) {
	env := &environment{options: o, progress: progress}
	defer func() {
		if err != nil {
			err = errors.Join(err, env.stop(context.WithoutCancel(ctx)))
		}
	}()
	up := []string{"up"}
	if o.suite == suiteStorage {
		up = append(up, "--csi")
	}
	if _, err := env.command(ctx, up...); err != nil {
		return nil, err
	}
	status, err := env.status(ctx)
	if err != nil {
		return nil, err
	}
	local, remote := status.Clusters["local"], status.Clusters["remote"]
	if status.Simulated {
		return nil, errors.New("the nodes are simulated, but Kubernetes' tests need real containers: run as root on Linux")
	}
	if remote.Version != local.Version {
		return nil, fmt.Errorf("the clusters run Kubernetes %s and %s, but the tests are of one version: bring them up with the same --version",
			local.Version, remote.Version)
	}
	digest, err := digestOf(o.akd)
	if err != nil {
		return nil, err
	}
	env.version = local.Version
	env.subject = map[side]string{direct: local.Version, through: local.Version + " akd " + digest + " --services=" + o.services}
	if o.services != "none" {
		if err := env.addServiceRange(ctx, local.Services); err != nil {
			return nil, err
		}
	}
	if o.suite == suiteStorage {
		if err := env.offerStorage(ctx); err != nil {
			return nil, err
		}
	}
	if o.direct {
		return env, nil
	}
	if err := env.startAKD(ctx, status.AKDAddress); err != nil {
		return nil, err
	}
	return env, nil
}

// clustersStatus is the part of `clusters status -o json` that is used here.
type clustersStatus struct {
	AKDAddress string `json:"akdAddress"`
	Simulated  bool   `json:"simulated"`
	Clusters   map[string]struct {
		Version  string `json:"version"`
		Services string `json:"serviceCIDR"`
	} `json:"clusters"`
}

func (env *environment) status(ctx context.Context) (status clustersStatus, err error) {
	out, err := env.command(ctx, "status", "-o", "json")
	if err != nil {
		return status, err
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return status, fmt.Errorf("read clusters status: %w", err)
	}
	return status, nil
}

// addServiceRange lets the remote cluster have Services with addresses of the
// local one.
func (env *environment) addServiceRange(ctx context.Context, addresses string) error {
	const (
		name     = "local-services"
		manifest = "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: %s}\nspec: {cidrs: [%q]}\n"
	)
	file := filepath.Join(env.out, name+".yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, manifest, name, addresses), 0o600); err != nil {
		return fmt.Errorf("write the range of service addresses: %w", err)
	}
	if _, err := env.command(ctx, "kubectl", "remote", "apply", "-f", file); err != nil {
		return err
	}
	_, err := env.command(ctx, "kubectl", "remote", "wait", "--for=condition=Ready", "servicecidr/"+name, "--timeout=1m")
	return err
}

// digestOf distinguishes builds of a program.
func digestOf(program string) (string, error) {
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
// allow privileged pods, so their remote namespaces must as well.
func (env *environment) startAKD(ctx context.Context, address string) error {
	program, err := filepath.Abs(env.options.akd)
	if err != nil {
		return fmt.Errorf("find akd: %w", err)
	}
	log, err := os.Create(filepath.Join(env.out, "akd.log"))
	if err != nil {
		return fmt.Errorf("akd's log: %w", err)
	}
	args := []string{"--dir", env.dir, "exec", "local", "--", program,
		"--node-name", node, "--pod-security", "privileged", "--services", env.services,
		"--local-kubeconfig", filepath.Join(env.dir, "akd-local.kubeconfig"),
		"--remote-kubeconfig", filepath.Join(env.dir, "akd-remote.kubeconfig"),
		"--node-address", address, "--kubelet-api-address", address}
	if env.suite == suiteStorage {
		file, err := env.storageFile("akd.yaml")
		if err != nil {
			return err
		}
		args = append(args, "--config", file)
	}
	cmd := exec.Command(env.clusters, args...) //nolint:noctx // a signal stops it, not a context
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start akd: %w", err)
	}
	env.akd, env.exited = cmd, make(chan error, 1)
	go func() {
		env.exited <- cmd.Wait()
		_ = log.Close()
	}()
	return env.waitReady(ctx)
}

func (env *environment) waitReady(ctx context.Context) error {
	const timeout = 2 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		if err := env.alive(); err != nil {
			return err
		}
		out, err := env.command(ctx, "kubectl", "local", "get", "node", node,
			"-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
		if err == nil && string(out) == "True" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %s is not Ready: %w; see %s", node, cmp.Or(err, ctx.Err()), filepath.Join(env.out, "akd.log"))
		case <-time.After(time.Second):
		}
	}
}

// alive returns an error if akd has ended.
func (env *environment) alive() error {
	select {
	case err := <-env.exited:
		env.exited <- err
		return fmt.Errorf("akd has ended (%w): see %s", cmp.Or(err, errors.New("exit status 0")), filepath.Join(env.out, "akd.log"))
	default:
		return nil
	}
}

// tests builds Kubernetes' own tests, unless they have been built before.
func (env *environment) tests(ctx context.Context) (tests, error) {
	out, err := env.command(ctx, "tests", "--version", env.version)
	if err != nil {
		return tests{}, err
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, file, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			files[name] = file
		}
	}
	found := tests{program: files["e2e.test"], runner: files["ginkgo"], kubectl: files["kubectl"]}
	if env.suite == suiteStorage {
		found.driver, err = env.storageFile("driver.yaml")
	}
	return found, err
}

// kubeconfig is that of the API server that a side's specs use.
func (env *environment) kubeconfig(s side) string {
	name := "local.kubeconfig"
	if s == direct {
		name = "remote.kubeconfig"
	}
	path := filepath.Join(env.dir, name)
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	return path
}

// stop stops akd, and takes the clusters down unless they are to be kept.
func (env *environment) stop(ctx context.Context) error {
	const timeout = time.Minute
	var err error
	if env.exited != nil {
		_ = env.akd.Process.Signal(syscall.SIGTERM)
		select {
		case <-env.exited:
		case <-time.After(timeout):
			_ = env.akd.Process.Kill()
			<-env.exited
			err = errors.New("akd did not end within a minute of SIGTERM")
		}
	}
	if env.keep {
		return err
	}
	_, downErr := env.command(ctx, "down")
	return errors.Join(err, downErr)
}

// command runs a clusters command and returns its output.
func (env *environment) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, env.clusters, append([]string{"--dir", env.dir}, args...)...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, io.MultiWriter(&stderr, quiet(args, env.progress))
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("clusters %s: %w: %s", args[0], err, strings.TrimSpace(lastLines(stderr.String())))
	}
	return out.Bytes(), nil
}

// quiet hides the progress of the commands that return at once.
func quiet(args []string, progress io.Writer) io.Writer {
	if args[0] == "kubectl" || args[0] == "status" {
		return io.Discard
	}
	return progress
}
