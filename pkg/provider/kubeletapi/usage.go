package kubeletapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// Usage measures the remote pods of the node, in local names. It may return
// what it got along with an error about the rest.
type Usage func(ctx context.Context) ([]PodUsage, error)

// PodUsage is one measurement of one pod.
type PodUsage struct {
	// Namespace and Name are the local pod's.
	Namespace, Name string
	// Timestamp is the end of the Window over which CPU was averaged.
	Timestamp  time.Time
	Window     time.Duration
	Containers []ContainerUsage
}

// ContainerUsage is the measurement of one container.
type ContainerUsage struct {
	Name string
	// CPU is the average over the window, in nanocores.
	CPU uint64
	// Memory is the working set, in bytes.
	Memory uint64
}

const (
	usageTime    = 10 * time.Second
	usageWorkers = 8
	maxUsageBody = 64 << 20
)

// RemoteUsage measures by metrics.k8s.io of the remote cluster, one request
// per remote namespace that holds a pod of ours. It needs get and list on
// pods.metrics.k8s.io there.
func RemoteUsage(config *rest.Config, pods Pods) (Usage, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make client of the remote metrics API: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("parse address of the remote API server: %w", err)
	}
	get := func(ctx context.Context, namespace string) ([]podMetrics, error) {
		return getMetrics(ctx, client, base.JoinPath("apis/metrics.k8s.io/v1beta1/namespaces", namespace, "pods").String())
	}
	return func(ctx context.Context) ([]PodUsage, error) {
		ctx, cancel := context.WithTimeout(ctx, usageTime)
		defer cancel()
		return measure(ctx, pods, get)
	}, nil
}

// podMetrics is the part of metrics.k8s.io/v1beta1 PodMetrics that is read.
type podMetrics struct {
	metav1.ObjectMeta `json:"metadata"`
	Timestamp         metav1.Time     `json:"timestamp"`
	Window            metav1.Duration `json:"window"`
	Containers        []struct {
		Name  string                                    `json:"name"`
		Usage map[corev1.ResourceName]resource.Quantity `json:"usage"`
	} `json:"containers"`
}

func measure(ctx context.Context, pods Pods, get func(context.Context, string) ([]podMetrics, error)) ([]PodUsage, error) {
	byRemote := map[types.NamespacedName]types.NamespacedName{}
	namespaces := map[string]bool{}
	for _, pod := range pods.List() {
		if namespace, name, ok := pods.Remote(pod); ok {
			byRemote[types.NamespacedName{Namespace: namespace, Name: name}] = types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
			namespaces[namespace] = true
		}
	}
	var (
		mu     sync.Mutex
		out    []PodUsage
		failed []error
		work   = make(chan string)
		wg     sync.WaitGroup
	)
	for range min(usageWorkers, len(namespaces)) {
		wg.Go(func() {
			for namespace := range work {
				found, err := get(ctx, namespace)
				mu.Lock()
				if err != nil {
					failed = append(failed, err)
				}
				for i := range found {
					if local, ok := byRemote[types.NamespacedName{Namespace: namespace, Name: found[i].Name}]; ok {
						out = append(out, found[i].local(local))
					}
				}
				mu.Unlock()
			}
		})
	}
	for namespace := range namespaces {
		work <- namespace
	}
	close(work)
	wg.Wait()
	if len(failed) > 0 {
		return out, failed[0] // the rest say the same
	}
	return out, nil
}

func (m *podMetrics) local(name types.NamespacedName) PodUsage {
	usage := PodUsage{Namespace: name.Namespace, Name: name.Name, Timestamp: m.Timestamp.Time, Window: m.Window.Duration}
	for _, c := range m.Containers {
		cpu, memory := c.Usage[corev1.ResourceCPU], c.Usage[corev1.ResourceMemory]
		usage.Containers = append(usage.Containers, ContainerUsage{
			Name:   c.Name,
			CPU:    uint64(max(cpu.ScaledValue(resource.Nano), 0)),
			Memory: uint64(max(memory.Value(), 0)),
		})
	}
	return usage
}

// The reasons name no address: they are shown to whoever scrapes.
var (
	errNoMetricsAPI  = errors.New("the remote cluster serves no metrics.k8s.io: install metrics-server there")
	errMetricsDenied = errors.New("akd may not read pods.metrics.k8s.io in the remote cluster: grant it get and list in its namespaces")
	errMetricsSilent = errors.New("the remote cluster does not answer for metrics.k8s.io")
)

func getMetrics(ctx context.Context, client *http.Client, url string) ([]podMetrics, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("make request for metrics: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return nil, errMetricsSilent
	}
	defer func() { _ = res.Body.Close() }()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusServiceUnavailable:
		return nil, errNoMetricsAPI
	case http.StatusForbidden, http.StatusUnauthorized:
		return nil, errMetricsDenied
	default:
		return nil, fmt.Errorf("the remote cluster answered %d for metrics.k8s.io", res.StatusCode)
	}
	var list struct {
		Items []podMetrics `json:"items"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxUsageBody)).Decode(&list); err != nil {
		return nil, fmt.Errorf("the remote cluster's answer for metrics.k8s.io cannot be read: %w", err)
	}
	return list.Items, nil
}

const (
	// usageAge is how long a measurement is shown again instead of asking the
	// remote: its metrics-server measures every 15 s by default.
	usageAge = 5 * time.Second
	// usageErrorAge is the same after an error.
	usageErrorAge = 30 * time.Second
	// leastCPU keeps counters from being zero, for which metrics-server drops
	// the whole pod as incomplete. Whatever started has used some CPU.
	leastCPU = uint64(time.Microsecond)
)

// account makes the counter that readers of a kubelet expect out of the
// averages that metrics.k8s.io gives: the integral of the average over the time
// between two measurements, so that the difference quotient which the reader
// computes is the average again.
type account struct {
	cpu     uint64 // nanoseconds since started, as far as seen
	rate    uint64 // nanocores
	memory  uint64
	at      time.Time
	started time.Time
}

func (a account) next(u ContainerUsage, at time.Time, window time.Duration, started time.Time) account {
	next := account{rate: u.CPU, memory: u.Memory, at: at, started: started}
	switch {
	case a.at.IsZero(), started.After(a.started):
		next.cpu = max(integral(u.CPU, window), leastCPU)
	case at.After(a.at):
		next.cpu = a.cpu + integral(u.CPU, at.Sub(a.at))
	default:
		return a
	}
	return next
}

func integral(nanocores uint64, over time.Duration) uint64 {
	return uint64(float64(nanocores) * over.Seconds())
}

// podAccount is a pod with what its containers used.
type podAccount struct {
	pod        *corev1.Pod
	containers []containerAccount
	total      account
}

type containerAccount struct {
	name string
	account
}

// report is what the stats endpoints show. err says why usage is missing or
// incomplete.
type report struct {
	pods []podAccount
	node account
	err  error
}

type accountKey struct {
	uid       types.UID
	container string
}

// accounts are the counters of every container, of this life of akd.
type accounts struct {
	usage Usage
	clock clock.PassiveClock
	turn  chan struct{} // guards the rest; a reader may give up waiting

	containers map[accountKey]account
	pods       map[types.UID]account
	node       account
	last       []PodUsage
	lastErr    error
	lastAt     time.Time
}

func newAccounts(usage Usage, clock clock.PassiveClock) *accounts {
	if usage == nil {
		usage = func(context.Context) ([]PodUsage, error) { return nil, errors.New("usage is not configured") }
	}
	return &accounts{
		usage:      usage,
		clock:      clock,
		turn:       make(chan struct{}, 1),
		containers: map[accountKey]account{},
		pods:       map[types.UID]account{},
	}
}

// report measures if the last measurement is too old, and books it.
func (a *accounts) report(ctx context.Context, pods []*corev1.Pod) report {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return report{err: ctx.Err()}
	}
	age := usageAge
	if a.lastErr != nil {
		age = usageErrorAge
	}
	if a.lastAt.IsZero() || a.clock.Since(a.lastAt) >= age {
		a.last, a.lastErr = a.usage(ctx)
		a.lastAt = a.clock.Now()
	}
	return a.book(pods)
}

func (a *accounts) book(pods []*corev1.Pod) report {
	measured := make(map[types.NamespacedName]PodUsage, len(a.last))
	for _, u := range a.last {
		measured[types.NamespacedName{Namespace: u.Namespace, Name: u.Name}] = u
	}
	out := report{err: a.lastErr}
	containers, totals := map[accountKey]account{}, map[types.UID]account{}
	for _, pod := range pods {
		booked := podAccount{pod: pod}
		if u, ok := measured[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}]; ok {
			a.bookPod(&booked, u, containers)
			totals[pod.UID] = booked.total
		}
		out.pods = append(out.pods, booked)
	}
	a.containers, a.pods = containers, totals // pods that are gone are forgotten
	a.bookNode(out.pods)
	out.node = a.node
	slices.SortFunc(out.pods, func(x, y podAccount) int {
		return compareNames(x.pod, y.pod)
	})
	return out
}

func (a *accounts) bookPod(booked *podAccount, u PodUsage, into map[accountKey]account) {
	sum := ContainerUsage{}
	for _, c := range u.Containers {
		key := accountKey{uid: booked.pod.UID, container: c.Name}
		started := startOf(booked.pod, c.Name)
		into[key] = a.containers[key].next(c, u.Timestamp, u.Window, started)
		booked.containers = append(booked.containers, containerAccount{name: c.Name, account: into[key]})
		sum.CPU += c.CPU
		sum.Memory += c.Memory
	}
	var started time.Time
	if booked.pod.Status.StartTime != nil {
		started = booked.pod.Status.StartTime.Time
	}
	booked.total = a.pods[booked.pod.UID].next(sum, u.Timestamp, u.Window, started)
}

// bookNode adds the pods up. The sum has a counter of its own, since the sum
// of counters would fall when a pod goes.
func (a *accounts) bookNode(pods []podAccount) {
	var sum ContainerUsage
	at := time.Time{}
	for _, p := range pods {
		sum.CPU += p.total.rate
		sum.Memory += p.total.memory
		if p.total.at.After(at) {
			at = p.total.at
		}
	}
	if at.IsZero() {
		at = a.clock.Now()
	}
	// As with leastCPU: a node without a byte would be no node to metrics-server.
	sum.Memory = max(sum.Memory, 1)
	if at.Equal(a.node.at) {
		a.node.rate, a.node.memory = sum.CPU, sum.Memory
		return
	}
	a.node = a.node.next(sum, at, 0, time.Time{})
}

// startOf is when the container last started, zero when it is not running.
func startOf(pod *corev1.Pod, container string) time.Time {
	for _, list := range [][]corev1.ContainerStatus{
		pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses,
	} {
		for i := range list {
			if list[i].Name == container && list[i].State.Running != nil {
				return list[i].State.Running.StartedAt.Time
			}
		}
	}
	return time.Time{}
}
