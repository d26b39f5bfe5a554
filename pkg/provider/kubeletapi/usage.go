package kubeletapi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"
)

// Usage returns the usage of the node's remote pods, under their local names. If
// it returns an error, the result may be incomplete.
type Usage func(ctx context.Context) ([]PodUsage, error)

// PodUsage is one measurement of one pod.
type PodUsage struct {
	// Namespace and Name are those of the local pod.
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
)

// RemoteUsage returns a Usage that reads metrics.k8s.io of the remote cluster,
// with one request per remote namespace that holds a pod of the node. It needs
// get and list on pods.metrics.k8s.io there.
func RemoteUsage(config *rest.Config, pods Pods) (Usage, error) {
	client, err := metricsclient.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client of the remote metrics API: %w", err)
	}
	return func(ctx context.Context) ([]PodUsage, error) {
		ctx, cancel := context.WithTimeout(ctx, usageTime)
		defer cancel()
		return measure(ctx, client, pods)
	}, nil
}

// measure returns the usage in the namespaces that answer, and the first error of
// the others: all say the same.
func measure(ctx context.Context, client metricsclient.PodMetricsesGetter, pods Pods) ([]PodUsage, error) {
	var (
		mu    sync.Mutex
		usage []PodUsage
		group errgroup.Group
	)
	group.SetLimit(usageWorkers)
	for namespace, locals := range localNames(pods) {
		group.Go(func() error {
			list, err := client.PodMetricses(namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				return usageError(err)
			}
			mu.Lock()
			defer mu.Unlock()
			usage = append(usage, podUsages(list.Items, locals)...)
			return nil
		})
	}
	err := group.Wait()
	return usage, err
}

// localNames returns the local pods by remote namespace and remote name.
func localNames(pods Pods) map[string]map[string]types.NamespacedName {
	locals := map[string]map[string]types.NamespacedName{}
	for _, pod := range pods.List() {
		namespace, name, ok := pods.Remote(pod)
		if !ok {
			continue
		}
		if locals[namespace] == nil {
			locals[namespace] = map[string]types.NamespacedName{}
		}
		locals[namespace][name] = types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
	}
	return locals
}

// podUsages leaves out pods that have no local name: they are not of this node.
func podUsages(remote []metricsv1beta1.PodMetrics, locals map[string]types.NamespacedName) []PodUsage {
	var usages []PodUsage
	for i := range remote {
		local, ok := locals[remote[i].Name]
		if !ok {
			continue
		}
		usage := PodUsage{
			Namespace: local.Namespace,
			Name:      local.Name,
			Timestamp: remote[i].Timestamp.Time,
			Window:    remote[i].Window.Duration,
		}
		for _, c := range remote[i].Containers {
			cpu, memory := c.Usage[corev1.ResourceCPU], c.Usage[corev1.ResourceMemory]
			usage.Containers = append(usage.Containers, ContainerUsage{
				Name:   c.Name,
				CPU:    uint64(max(cpu.ScaledValue(resource.Nano), 0)),
				Memory: uint64(max(memory.Value(), 0)),
			})
		}
		usages = append(usages, usage)
	}
	return usages
}

// The messages contain no address: anyone who scrapes can read them.
var (
	errNoMetricsAPI  = errors.New("the remote cluster does not serve metrics.k8s.io: install metrics-server there")
	errMetricsDenied = errors.New("akd may not read pods.metrics.k8s.io in the remote cluster: grant it get and list in its namespaces")
	errMetricsSilent = errors.New("the remote cluster gives no valid response for metrics.k8s.io")
)

// usageError drops what client-go says, because it may contain addresses.
func usageError(err error) error {
	status := apierrors.APIStatus(nil)
	switch {
	case !errors.As(err, &status):
		return errMetricsSilent
	case apierrors.IsNotFound(err), apierrors.IsServiceUnavailable(err):
		return errNoMetricsAPI
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return errMetricsDenied
	}
	return fmt.Errorf("the remote cluster answered requests for metrics.k8s.io with status %d", status.Status().Code)
}
