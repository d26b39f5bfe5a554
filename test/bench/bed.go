package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
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

// bed is a run of the test clusters.
type bed struct {
	*options
	progress io.Writer
	isUp     bool

	clients   map[side]*kubernetes.Clientset
	simulated bool
	address   string // kept for akd in the local cluster's network
	versions  map[side]string
	kubectl   string         // the local cluster's own
	processes map[string]int // of the clusters, by component: remote-etcd
}

// up brings the clusters up: kwok nodes that hold that many pods, or, with
// none, real ones.
func (b *bed) up(ctx context.Context, kwokPods int) error {
	args := []string{"up"}
	b.simulated = kwokPods > 0
	if b.simulated {
		const podsPerNode = 200 // of the 250 that a simulated node takes
		nodes := strconv.Itoa(kwokPods/podsPerNode + 2)
		args = append(args, "--simulated", "--remote-nodes", nodes, "--local-nodes", nodes)
	}
	b.say("bringing the clusters up")
	b.isUp = true
	if err := b.command(ctx, args...).Run(); err != nil {
		return fmt.Errorf("clusters up: %w", err)
	}
	if err := b.look(ctx); err != nil {
		return err
	}
	b.clients = map[side]*kubernetes.Clientset{}
	for _, s := range []side{localSide, remoteSide} {
		cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(b.dir, string(s)+".kubeconfig"))
		if err != nil {
			return fmt.Errorf("kubeconfig of the %s cluster: %w", s, err)
		}
		cfg.QPS = -1
		cfg.UserAgent = "bench"
		cfg.ContentType = "application/vnd.kubernetes.protobuf"
		if b.clients[s], err = kubernetes.NewForConfig(cfg); err != nil {
			return fmt.Errorf("client of the %s cluster: %w", s, err)
		}
	}
	return nil
}

func (b *bed) look(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, b.clusters, "--dir", b.dir, "status", "-o", "json")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("clusters status: %w", err)
	}
	var status struct {
		AKDAddress string `json:"akdAddress"`
		Clusters   map[side]struct {
			Version string `json:"version"`
			Kubectl string `json:"kubectl"`
		} `json:"clusters"`
		Components []struct {
			Name string `json:"name"`
			PID  int    `json:"pid"`
		} `json:"components"`
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return fmt.Errorf("read clusters status: %w", err)
	}
	b.address, b.versions = status.AKDAddress, map[side]string{}
	b.kubectl = status.Clusters[localSide].Kubectl
	for s, c := range status.Clusters {
		b.versions[s] = c.Version
	}
	b.processes = map[string]int{}
	for _, component := range status.Components {
		b.processes[component.Name] = component.PID
	}
	return nil
}

// processor is CPU time by component of the clusters.
type processor map[string]time.Duration

func (p processor) total() time.Duration {
	var sum time.Duration
	for _, used := range p {
		sum += used
	}
	return sum
}

// since is what was used after an earlier look.
func (p processor) since(earlier processor) processor {
	used := processor{}
	for component, now := range p {
		used[component] = now - earlier[component]
	}
	return used
}

// cpu is what the clusters' processes have used so far: unlike the time that
// passes, it does not grow with what else the machine does.
func (b *bed) cpu() (processor, error) {
	used := processor{}
	for component, pid := range b.processes {
		var err error
		if used[component], err = cpuTime(pid); err != nil {
			return nil, err
		}
	}
	return used, nil
}

// down takes the clusters down, also when the measurement was interrupted.
func (b *bed) down() error {
	if !b.isUp || b.keep {
		return nil
	}
	b.say("taking the clusters down")
	if err := b.command(context.Background(), "down").Run(); err != nil {
		return fmt.Errorf("clusters down: %w", err)
	}
	return nil
}

func (b *bed) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.clusters, append([]string{"--dir", b.dir}, args...)...)
	cmd.Stdout, cmd.Stderr = io.Discard, b.progress
	return cmd
}

// say tells what happens now.
func (b *bed) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// machine says what the figures were measured on.
func (b *bed) machine(ctx context.Context) string {
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
	if b.simulated {
		nodes = "kwok nodes: containers do not really run"
	}
	version, err := exec.CommandContext(ctx, b.akd, "--version").Output()
	if err != nil {
		version = []byte("akd of an unknown version")
	}
	return fmt.Sprintf("%d cores, %s, %s/%s, shared by both clusters, akd and the measurement.\nKubernetes %s (local) and %s (remote), %s.\n%s, %s, %s.",
		runtime.NumCPU(), memory, runtime.GOOS, runtime.GOARCH, b.versions[localSide], b.versions[remoteSide], nodes,
		bytes.TrimSpace(version), runtime.Version(), time.Now().UTC().Format(time.DateOnly))
}

// freeAddress is an address on loopback that nobody listens on right now.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String(), nil
}
