package kubeletapi

import (
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

const (
	// usageAge is how long a measurement is reused before the remote cluster is
	// asked again: its metrics-server measures every 15 s by default.
	usageAge = 5 * time.Second
	// usageErrorAge is the same after an error.
	usageErrorAge = 30 * time.Second
	// leastCPU keeps counters from being zero: metrics-server drops the whole pod
	// as incomplete then. Every container that started has used some CPU.
	leastCPU = uint64(time.Microsecond)
)

// cpuCounter turns the averages that metrics.k8s.io gives into the counter that
// clients of a kubelet expect. It is the integral of the average over the time
// between two measurements, so that the difference quotient which a client
// computes is the average again.
type cpuCounter struct {
	cpu     uint64 // nanoseconds since started, as far as observed
	rate    uint64 // nanocores
	memory  uint64
	at      time.Time
	started time.Time
}

func (c cpuCounter) next(u ContainerUsage, at time.Time, window time.Duration, started time.Time) cpuCounter {
	next := cpuCounter{rate: u.CPU, memory: u.Memory, at: at, started: started}
	switch {
	case c.at.IsZero(), started.After(c.started):
		next.cpu = max(integral(u.CPU, window), leastCPU)
	case at.After(c.at):
		next.cpu = c.cpu + integral(u.CPU, at.Sub(c.at))
	default:
		return c
	}
	return next
}

func integral(nanocores uint64, over time.Duration) uint64 {
	return uint64(float64(nanocores) * over.Seconds())
}

// podCounters are the counters of a pod and its containers.
type podCounters struct {
	pod        *corev1.Pod
	containers []containerCounter
	total      cpuCounter
}

type containerCounter struct {
	name string
	cpuCounter
}

// report is what the stats endpoints show. err says why usage is missing or
// incomplete.
type report struct {
	pods []podCounters
	node cpuCounter
	err  error
}

type containerKey struct {
	uid       types.UID
	container string
}

// cpuCounters are the counters of all containers since akd started.
type cpuCounters struct {
	usage Usage
	clock clock.PassiveClock
	sem   chan struct{} // guards the rest; a caller may give up waiting

	containers map[containerKey]cpuCounter
	pods       map[types.UID]cpuCounter
	node       cpuCounter
	last       []PodUsage
	lastErr    error
	lastAt     time.Time
}

func newCPUCounters(usage Usage, clock clock.PassiveClock) *cpuCounters {
	if usage == nil {
		usage = func(context.Context) ([]PodUsage, error) { return nil, errors.New("usage is not configured") }
	}
	return &cpuCounters{
		usage:      usage,
		clock:      clock,
		sem:        make(chan struct{}, 1),
		containers: map[containerKey]cpuCounter{},
		pods:       map[types.UID]cpuCounter{},
	}
}

// report updates the counters, with a new measurement if the last one is too old.
func (c *cpuCounters) report(ctx context.Context, pods []*corev1.Pod) report {
	select {
	case c.sem <- struct{}{}:
		defer func() { <-c.sem }()
	case <-ctx.Done():
		return report{err: ctx.Err()}
	}
	age := usageAge
	if c.lastErr != nil {
		age = usageErrorAge
	}
	if c.lastAt.IsZero() || c.clock.Since(c.lastAt) >= age {
		c.last, c.lastErr = c.usage(ctx)
		c.lastAt = c.clock.Now()
	}
	return c.update(pods)
}

func (c *cpuCounters) update(pods []*corev1.Pod) report {
	measured := make(map[types.NamespacedName]PodUsage, len(c.last))
	for _, u := range c.last {
		measured[types.NamespacedName{Namespace: u.Namespace, Name: u.Name}] = u
	}
	out := report{err: c.lastErr}
	containers, totals := map[containerKey]cpuCounter{}, map[types.UID]cpuCounter{}
	for _, pod := range pods {
		updated := podCounters{pod: pod}
		if u, ok := measured[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}]; ok {
			c.updatePod(&updated, u, containers)
			totals[pod.UID] = updated.total
		}
		out.pods = append(out.pods, updated)
	}
	c.containers, c.pods = containers, totals // without pods that no longer exist
	c.updateNode(out.pods)
	out.node = c.node
	slices.SortFunc(out.pods, func(x, y podCounters) int {
		return compareNames(x.pod, y.pod)
	})
	return out
}

func (c *cpuCounters) updatePod(updated *podCounters, u PodUsage, into map[containerKey]cpuCounter) {
	sum := ContainerUsage{}
	for _, container := range u.Containers {
		key := containerKey{uid: updated.pod.UID, container: container.Name}
		started := startOf(updated.pod, container.Name)
		into[key] = c.containers[key].next(container, u.Timestamp, u.Window, started)
		updated.containers = append(updated.containers, containerCounter{name: container.Name, cpuCounter: into[key]})
		sum.CPU += container.CPU
		sum.Memory += container.Memory
	}
	var started time.Time
	if updated.pod.Status.StartTime != nil {
		started = updated.pod.Status.StartTime.Time
	}
	updated.total = c.pods[updated.pod.UID].next(sum, u.Timestamp, u.Window, started)
}

// updateNode adds up the pods. The node has a counter of its own, because the sum
// of the pods' counters would fall when a pod ends.
func (c *cpuCounters) updateNode(pods []podCounters) {
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
		at = c.clock.Now()
	}
	// As with leastCPU: metrics-server ignores a node without memory usage.
	sum.Memory = max(sum.Memory, 1)
	if at.Equal(c.node.at) {
		c.node.rate, c.node.memory = sum.CPU, sum.Memory
		return
	}
	c.node = c.node.next(sum, at, 0, time.Time{})
}

// startOf is when the container last started, zero if it is not running.
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
