package kubeletapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
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
