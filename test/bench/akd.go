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
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// metricsPort of an akd in the local cluster's network.
const metricsPort = "10254"

// daemon is a running akd.
type daemon struct {
	bed     *bed
	cmd     *exec.Cmd
	exited  chan error
	metrics string // address of its metrics
	args    []string
}

// newDaemon says how akd is started on this bed.
func newDaemon(ctx context.Context, b *bed) (*daemon, error) {
	d := &daemon{bed: b}
	absolute, err := filepath.Abs(b.akd)
	if err != nil {
		return nil, fmt.Errorf("find akd: %w", err)
	}
	kubeconfigs := map[side]string{}
	for _, s := range []side{localSide, remoteSide} {
		kubeconfigs[s] = filepath.Join(b.dir, "akd-"+string(s)+".kubeconfig")
	}
	if b.simulated {
		// The link would work for AK alone, and nobody slows it down or cuts it.
		kubeconfigs[remoteSide] = filepath.Join(b.dir, "remote.kubeconfig")
	}
	d.args = []string{
		"--node-name", benchNode,
		"--local-kubeconfig", kubeconfigs[localSide], "--remote-kubeconfig", kubeconfigs[remoteSide],
		"--profiling",
	}
	if !b.simulated {
		d.metrics = net.JoinHostPort("127.0.0.1", metricsPort)
		d.args = append(d.args, "--node-address", b.address, "--kubelet-api-address", b.address)
		d.args = append([]string{b.clusters, "--dir", b.dir, "exec", "local", "--", absolute}, d.args...)
		return d, nil
	}
	if d.metrics, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	kubelet, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(kubelet)
	d.args = append(d.args, "--metrics-address", d.metrics, "--node-address", "127.0.0.1", "--kubelet-api-address", "127.0.0.1",
		"--kubelet-api-port", port, "--local-api-server", "192.0.2.1:6443") // nothing in a simulated pod ever asks it
	d.args = append([]string{absolute}, d.args...)
	return d, nil
}

// start starts akd and waits until it has read both clusters and its node is
// Ready.
func (d *daemon) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(d.bed.dir, "logs", "akd-bench.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("akd's log: %w", err)
	}
	d.cmd, d.exited = exec.Command(d.args[0], d.args[1:]...), make(chan error, 1) //nolint:noctx // it is stopped by a signal, not by a context
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		return fmt.Errorf("start akd: %w", err)
	}
	go func(cmd *exec.Cmd, exited chan<- error) {
		exited <- cmd.Wait()
		_ = log.Close()
	}(d.cmd, d.exited)
	return poll(ctx, "akd is ready", func(ctx context.Context) error {
		select {
		case err := <-d.exited:
			d.exited <- err
			return &finalError{fmt.Errorf("akd ended: %w; see %s", err, log.Name())}
		default:
		}
		if _, err := d.get(ctx, "/readyz"); err != nil {
			return err
		}
		return nodeReady(ctx, d.bed.clients[localSide])
	})
}

// stop ends akd, and is nothing when it does not run.
func (d *daemon) stop() error {
	const patience = time.Minute
	if d.cmd == nil {
		return nil
	}
	defer func() { d.cmd = nil }()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
		return nil
	case <-time.After(patience):
		_ = d.cmd.Process.Kill()
		<-d.exited
		return errors.New("akd did not end within a minute of SIGTERM")
	}
}

// get asks akd's metrics port. In the clusters' network only a program in
// there reaches it.
func (d *daemon) get(ctx context.Context, path string) (string, error) {
	url := "http://" + d.metrics + path
	if !d.bed.simulated {
		out, err := exec.CommandContext(ctx, d.bed.clusters, "--dir", d.bed.dir, "exec", "local", "--", "curl", "-sf", url).Output()
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

// usage is what akd has used so far.
type usage struct {
	cpu  time.Duration
	rss  int // now, MiB
	peak int // since resetPeak, MiB
}

// clockTick is the unit of times in /proc, which is the same on all of Linux'
// architectures that Go supports.
const clockTick = 10 * time.Millisecond

// usage reads /proc.
// https://www.kernel.org/doc/html/latest/filesystems/proc.html
func (d *daemon) usage() (u usage, err error) {
	folder := filepath.Join("/proc", strconv.Itoa(d.cmd.Process.Pid))
	if u.cpu, err = cpuTime(d.cmd.Process.Pid); err != nil {
		return usage{}, fmt.Errorf("akd's usage: %w", err)
	}
	status, err := os.ReadFile(filepath.Join(folder, "status"))
	if err != nil {
		return usage{}, fmt.Errorf("akd's usage: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			u.rss = kib >> 10
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			u.peak = kib >> 10
		}
	}
	return u, nil
}

// cpuTime is what a process has used so far, in its own code and in the kernel's.
func cpuTime(pid int) (time.Duration, error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), "stat")
	stat, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	_, afterName, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(afterName)
	const user, system = 11, 12 // fields 14 and 15, less the process id and its name
	if len(fields) <= system {
		return 0, fmt.Errorf("CPU time of process %d: %s has %d fields", pid, path, len(fields))
	}
	var total time.Duration
	for _, field := range []int{user, system} {
		ticks, err := strconv.Atoi(fields[field])
		if err != nil {
			return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
		}
		total += time.Duration(ticks) * clockTick
	}
	return total, nil
}

// resetPeak starts the measurement of the peak anew.
func (d *daemon) resetPeak() error {
	const resetPeak = "5" // https://www.kernel.org/doc/html/latest/filesystems/proc.html, clear_refs
	path := filepath.Join("/proc", strconv.Itoa(d.cmd.Process.Pid), "clear_refs")
	if err := os.WriteFile(path, []byte(resetPeak), 0o200); err != nil {
		return fmt.Errorf("reset akd's peak of memory: %w", err)
	}
	return nil
}

// requests are akd's requests by "cluster verb resource".
type requests map[string]int

// requests reads them from akd's metrics.
func (d *daemon) requests(ctx context.Context) (requests, error) {
	body, err := d.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	samples, err := samplesOf(body, "akd_requests_total")
	if err != nil {
		return nil, fmt.Errorf("read akd's metrics: %w", err)
	}
	counts := requests{}
	for _, s := range samples {
		counts[s.labels["cluster"]+" "+s.labels["verb"]+" "+s.labels["resource"]] += s.value
	}
	return counts, nil
}

// sample is one series of a counter.
type sample struct {
	labels map[string]string
	value  int
}

// samplesOf returns a counter's series from a page of metrics.
func samplesOf(page, name string) ([]sample, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		return nil, err
	}
	var samples []sample
	for _, metric := range families[name].GetMetric() {
		labels := map[string]string{}
		for _, label := range metric.GetLabel() {
			labels[label.GetName()] = label.GetValue()
		}
		samples = append(samples, sample{labels, int(metric.GetCounter().GetValue())})
	}
	return samples, nil
}

// served is what the API servers were asked by everyone: the clusters' own
// components, kwok, this measurement and akd.
func (b *bed) served(ctx context.Context) (requests, error) {
	counts := requests{}
	for s, client := range b.clients {
		body, err := client.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the %s API server's metrics: %w", s, err)
		}
		samples, err := samplesOf(string(body), "apiserver_request_total")
		if err != nil {
			return nil, fmt.Errorf("read the %s API server's metrics: %w", s, err)
		}
		for _, one := range samples {
			resource := one.labels["resource"]
			if sub := one.labels["subresource"]; sub != "" {
				resource += "/" + sub
			}
			counts[string(s)+" "+strings.ToLower(one.labels["verb"])+" "+resource] += one.value
		}
	}
	return counts, nil
}

// since returns what has been added to an earlier reading.
func (r requests) since(earlier requests) requests {
	added := requests{}
	for name, count := range r {
		if n := count - earlier[name]; n > 0 {
			added[name] = n
		}
	}
	return added
}

// writes leaves out reads, mirrored events, and what is about the node and
// akd's own rights rather than about pods.
func (r requests) writes() requests {
	writes := requests{}
	for name, count := range r {
		words := strings.Fields(name)
		switch words[1] {
		case "get", "list", "watch":
			continue
		}
		switch words[2] {
		case "events", "leases", "nodes", "nodes/status", "certificatesigningrequests", "tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews":
			continue
		}
		writes[name] = count
	}
	return writes
}

func (r requests) total() int {
	total := 0
	for _, count := range r {
		total += count
	}
	return total
}
