package mirror

import (
	"context"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/disclosure"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// dnsService is the name of the DNS add-on's Service; see translate.ClusterDNS.
const dnsService = "kube-dns"

// Services keeps remote copies of the local cluster's Services and
// EndpointSlices in sync. It watches all of them, as kube-proxy on a node does,
// including those in namespaces without pods on this node. It can be disabled.
type Services struct {
	ServicesConfig

	services *store.Store[*corev1.Service]            // local
	slices   *store.Store[*discoveryv1.EndpointSlice] // local

	syncServices syncer[*corev1.Service]
	syncSlices   syncer[*discoveryv1.EndpointSlice]
}

// ServicesConfig configures a Services.
type ServicesConfig struct {
	// Enabled enables mirroring. Otherwise, Services are only read, for the
	// environment of pods.
	Enabled bool
	// Reached says that pods reach the Services at their addresses: by these copies, or by
	// those of another node.
	Reached  bool
	Mapper   *translate.Mapper
	Local    *cluster.Local
	Remote   *cluster.Remote
	Opener   *namespaces.Opener
	Queue    queue.Adder
	Recorder record.EventRecorder
}

// NewServices returns a Services that mirrors if config enables it.
func NewServices(config ServicesConfig) *Services {
	m := &Services{ServicesConfig: config}
	m.services = store.New(store.Handlers[*corev1.Service]{Changed: m.serviceChanged})
	m.slices = store.New(store.Handlers[*discoveryv1.EndpointSlice]{Changed: m.sliceChanged})
	m.syncServices = syncer[*corev1.Service]{
		kind:   queue.Service,
		writer: config.Remote.ServiceWriter(),
		copied: func(n *namespaces.Namespace) *store.Store[*corev1.Service] { return n.Services },
		inSync: translate.SameService,
		fixed:  translate.FixedService,
	}
	m.syncSlices = syncer[*discoveryv1.EndpointSlice]{
		kind:   queue.EndpointSlice,
		writer: config.Remote.EndpointSliceWriter(),
		copied: func(n *namespaces.Namespace) *store.Store[*discoveryv1.EndpointSlice] { return n.EndpointSlices },
		inSync: translate.SameEndpointSlice,
		fixed:  translate.FixedEndpointSlice,
	}
	return m
}

// Run reads the local Services and, if mirroring is enabled, their
// EndpointSlices until ctx ends.
func (m *Services) Run(ctx context.Context) {
	var watches sync.WaitGroup
	defer watches.Wait()
	watches.Go(func() { m.services.Run(ctx, m.Local.Services()) })
	if m.Enabled {
		watches.Go(func() { m.slices.Run(ctx, m.Local.EndpointSlices()) })
	}
}

// In returns the Services of a local namespace. They are read-only.
func (m *Services) In(namespace string) []*corev1.Service { return m.services.In(namespace) }

// serviceChanged queues a Service and the slices that depend on it.
func (m *Services) serviceChanged(c store.Change[*corev1.Service]) {
	if !m.Enabled {
		return
	}
	service := c.Object()
	m.Queue.Add(queue.Service.Key(service.Namespace, service.Name))
	for _, slice := range m.slices.In(service.Namespace) {
		if translate.ServiceOf(slice) == service.Name {
			m.Queue.Add(queue.EndpointSlice.Key(slice.Namespace, slice.Name))
		}
	}
}

func (m *Services) sliceChanged(c store.Change[*discoveryv1.EndpointSlice]) {
	slice := c.Object()
	m.Queue.Add(queue.EndpointSlice.Key(slice.Namespace, slice.Name))
}

// HasSynced reports whether all mirrored objects have been read.
func (m *Services) HasSynced() bool {
	return m.services.HasSynced() && (!m.Enabled || m.slices.HasSynced())
}

// Uses reports whether a local namespace has a mirrored Service.
func (m *Services) Uses(namespace string) bool {
	return m.Enabled && slices.ContainsFunc(m.services.In(namespace), translate.HasCopy)
}

// Keys returns the keys to reconcile once a namespace can be used.
func (m *Services) Keys(local string, namespace *namespaces.Namespace) []queue.Key {
	if !m.Enabled {
		return nil
	}
	var keys []queue.Key
	services, slices := m.services.In(local), m.slices.In(local)
	if namespace != nil {
		services, slices = append(services, namespace.Services.All()...), append(slices, namespace.EndpointSlices.All()...)
	}
	for _, service := range services {
		keys = append(keys, queue.Service.Key(local, service.Name))
	}
	for _, slice := range slices {
		keys = append(keys, queue.EndpointSlice.Key(local, slice.Name))
	}
	return keys
}

// ReconcileService updates the remote copy of a Service from the local one.
func (m *Services) ReconcileService(ctx context.Context, k queue.Key, attempts int) error {
	local := m.services.Get(k.Namespace, k.Name)
	wanted := local != nil && translate.HasCopy(local)
	namespace, ready, err := m.remoteNamespace(ctx, k.Namespace, wanted)
	if ready {
		var want *corev1.Service
		if wanted {
			want = namespace.Site.Service(local)
		}
		_, err = m.syncServices.sync(ctx, namespace, k.Name, want)
	}
	m.recordEvent(local, attempts, err)
	return err
}

// recordEvent records on a local Service why pods do not reach it, once the
// failure persists.
func (m *Services) recordEvent(local *corev1.Service, attempts int, err error) {
	if err != nil && local != nil && attempts == queue.QuietAttempts {
		m.Recorder.Eventf(local, corev1.EventTypeWarning, translate.ReasonServiceNotMirrored,
			"pods on node %s do not reach this service: %s", m.Mapper.Node, disclosure.Text(err.Error()))
	}
}

// ReconcileSlice updates the remote copy of an EndpointSlice from the local
// one.
func (m *Services) ReconcileSlice(ctx context.Context, k queue.Key, attempts int) error {
	var of *corev1.Service
	local := m.slices.Get(k.Namespace, k.Name)
	if local != nil {
		of = m.services.Get(k.Namespace, translate.ServiceOf(local))
	}
	wanted := local != nil && translate.SliceHasCopy(local, of)
	namespace, ready, err := m.remoteNamespace(ctx, k.Namespace, wanted)
	if err != nil || !ready {
		return err
	}
	var want *discoveryv1.EndpointSlice
	if wanted {
		want = namespace.Site.EndpointSlice(local, of)
	}
	_, err = m.syncSlices.sync(ctx, namespace, k.Name, want)
	m.recordEvent(of, attempts, err)
	return err
}

// remoteNamespace returns the remote namespace of a local one. It is not ready
// if there is none; if wanted, it is created, and the key is queued again.
func (m *Services) remoteNamespace(ctx context.Context, local string, wanted bool) (*namespaces.Namespace, bool, error) {
	if found := m.Opener.Get(local); found != nil || !wanted {
		return found, found != nil, nil
	}
	return m.Opener.Ensure(ctx, local)
}

// Nameservers returns the addresses at which pods reach the local cluster's
// DNS.
func (m *Services) Nameservers() []string {
	if !m.Reached {
		return nil
	}
	return translate.ClusterDNS(m.services.Get(metav1.NamespaceSystem, dnsService))
}
