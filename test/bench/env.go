package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// side is one of the clusters.
type side string

const (
	localSide  side = "local"
	remoteSide side = "remote"
)

// benchNode is the name of AK's node.
const benchNode = "vk-bench"

// needs are what a measurement has to find.
type needs struct {
	simulatedPods int    // that kwok's nodes have to hold; 0 for real nodes
	sides         []side // on which namespaces are prepared
	namespaces    int    // the number of them
	akd           bool   // akd runs, and its node is Ready
	storage       bool   // both clusters have the StorageClass storageClass
}

// environment is what measurements run in: the test clusters, and akd.
type environment struct {
	*options
	progress  io.Writer
	simulated bool
	storage   bool
	status    clustersStatus
	clients   map[side]*kubernetes.Clientset
	daemon    *daemon
}

// setUp brings the clusters up, with all that a measurement needs. If it fails,
// it leaves nothing behind.
func setUp(ctx context.Context, o *options, n needs, progress io.Writer) (_ *environment, err error) {
	env := &environment{options: o, progress: progress, simulated: n.simulatedPods > 0, storage: n.storage}
	defer func() {
		if err != nil {
			err = errors.Join(err, env.tearDown(context.WithoutCancel(ctx)))
		}
	}()
	env.logf("bringing the clusters up")
	if err := env.command(ctx, upArgs(n)...).Run(); err != nil {
		return nil, fmt.Errorf("clusters up: %w", err)
	}
	if env.status, err = env.readStatus(ctx); err != nil {
		return nil, err
	}
	if env.clients, err = newClients(o.dir); err != nil {
		return nil, err
	}
	if n.namespaces > namespaces {
		env.logf("creating %d namespaces", n.namespaces)
	}
	for _, s := range n.sides {
		if err := prepareNamespaces(ctx, env.clients[s], n.namespaces); err != nil {
			return nil, err
		}
	}
	if n.storage {
		if err := offerStorage(ctx, env.clients[localSide]); err != nil {
			return nil, err
		}
	}
	if env.daemon, err = newDaemon(ctx, env); err != nil {
		return nil, err
	}
	if n.akd {
		if err := env.daemon.start(ctx); err != nil {
			return nil, err
		}
	}
	return env, nil
}

// upArgs are the arguments of the clusters command.
func upArgs(n needs) []string {
	args := []string{"up"}
	if n.simulatedPods > 0 {
		const podsPerNode = 200 // of the 250 that a simulated node takes
		nodes := strconv.Itoa(n.simulatedPods/podsPerNode + 2)
		args = append(args, "--simulated", "--remote-nodes", nodes, "--local-nodes", nodes)
	}
	if n.storage {
		args = append(args, "--local-path")
	}
	return args
}

// newClients returns a client of each cluster whose requests are not limited.
func newClients(dir string) (map[side]*kubernetes.Clientset, error) {
	clients := map[side]*kubernetes.Clientset{}
	for _, s := range []side{localSide, remoteSide} {
		cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, string(s)+".kubeconfig"))
		if err != nil {
			return nil, fmt.Errorf("kubeconfig of the %s cluster: %w", s, err)
		}
		cfg.QPS = -1
		cfg.UserAgent = "bench"
		cfg.ContentType = "application/vnd.kubernetes.protobuf"
		if clients[s], err = kubernetes.NewForConfig(cfg); err != nil {
			return nil, fmt.Errorf("client of the %s cluster: %w", s, err)
		}
	}
	return clients, nil
}

// clustersStatus is the part of `clusters status -o json` that is used here.
type clustersStatus struct {
	AKDAddress string `json:"akdAddress"` // kept for akd in the local cluster's network
	Clusters   map[side]struct {
		Version string `json:"version"`
		Kubectl string `json:"kubectl"`
	} `json:"clusters"`
	Components []struct {
		Name string `json:"name"` // such as remote-etcd
		PID  int    `json:"pid"`
	} `json:"components"`
}

func (env *environment) readStatus(ctx context.Context) (status clustersStatus, err error) {
	out, err := exec.CommandContext(ctx, env.clusters, "--dir", env.dir, "status", "-o", "json").Output()
	if err != nil {
		return status, fmt.Errorf("clusters status: %w", err)
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return status, fmt.Errorf("read clusters status: %w", err)
	}
	return status, nil
}

// cpuTimes are CPU times by component of the clusters.
type cpuTimes map[string]time.Duration

func (t cpuTimes) total() time.Duration {
	var sum time.Duration
	for _, used := range t {
		sum += used
	}
	return sum
}

// since returns what was used after an earlier reading.
func (t cpuTimes) since(earlier cpuTimes) cpuTimes {
	used := cpuTimes{}
	for component, now := range t {
		used[component] = now - earlier[component]
	}
	return used
}

// cpu reads what the clusters' processes have used so far. Unlike the time that
// passes, it does not grow with other work of the machine.
func (env *environment) cpu() (cpuTimes, error) {
	used := cpuTimes{}
	for _, component := range env.status.Components {
		var err error
		if used[component.Name], err = cpuTime(component.PID); err != nil {
			return nil, err
		}
	}
	return used, nil
}

// tearDown stops akd and takes the clusters down.
func (env *environment) tearDown(ctx context.Context) error {
	var err error
	if env.daemon != nil {
		err = env.daemon.stop()
	}
	if env.keep {
		return err
	}
	env.logf("taking the clusters down")
	if downErr := env.command(ctx, "down").Run(); downErr != nil {
		err = errors.Join(err, fmt.Errorf("clusters down: %w", downErr))
	}
	return err
}

func (env *environment) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, env.clusters, append([]string{"--dir", env.dir}, args...)...)
	cmd.Stdout, cmd.Stderr = io.Discard, env.progress
	return cmd
}

// logf prints what happens now.
func (env *environment) logf(format string, args ...any) {
	_, _ = fmt.Fprintf(env.progress, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// machine describes what the figures were measured on.
func (env *environment) machine(ctx context.Context) string {
	memory := "unknown memory"
	if content, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(content)) {
			var kib int
			if n, _ := fmt.Sscanf(line, "MemTotal: %d kB", &kib); n == 1 {
				memory = fmt.Sprintf("%d GiB of memory", (kib+1<<19)>>20)
			}
		}
	}
	nodes := "real nodes"
	if env.simulated {
		nodes = "kwok nodes: containers do not really run"
	}
	version, err := exec.CommandContext(ctx, env.akd, "--version").Output()
	if err != nil {
		version = []byte("akd of an unknown version")
	}
	local, remote := env.status.Clusters[localSide].Version, env.status.Clusters[remoteSide].Version
	return fmt.Sprintf("%d cores, %s, %s/%s, shared by both clusters, akd and the measurement.\n",
		runtime.NumCPU(), memory, runtime.GOOS, runtime.GOARCH) +
		fmt.Sprintf("Kubernetes %s (local) and %s (remote), %s.\n", local, remote, nodes) +
		fmt.Sprintf("%s, %s, %s.", bytes.TrimSpace(version), runtime.Version(), time.Now().UTC().Format(time.DateOnly))
}
