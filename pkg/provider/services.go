package provider

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// Where DNS add-ons are found; see translate.ClusterDNS.
const dnsService = "kube-dns"

// reasonServiceNotMirrored is the reason of an event on a local Service.
const reasonServiceNotMirrored = "ServiceNotMirrored"

// serviceMirror keeps remote copies of the local cluster's Services and of their
// EndpointSlices, as kube-proxy follows them on a node: all of them, whichever
// namespaces have pods here. It is off where no copies are made.
type serviceMirror struct {
	on       bool
	mapper   *translate.Mapper
	spaces   *spaces
	queue    queue
	recorder record.EventRecorder

	services *objects[*corev1.Service]            // local
	slices   *objects[*discoveryv1.EndpointSlice] // local

	keepServices keeper[*corev1.Service]
	keepSlices   keeper[*discoveryv1.EndpointSlice]
}

func newServiceMirror(mapper *translate.Mapper, spaces *spaces, queue queue, remote *remoteCluster) *serviceMirror {
	m := &serviceMirror{mapper: mapper, spaces: spaces, queue: queue}
	m.services = newObjects(m.serviceChanged, func() {})
	m.slices = newObjects(m.sliceChanged, func() {})
	m.keepServices = keeper[*corev1.Service]{
		kind: kindService, writer: remote.serviceWriter(), same: translate.SameService, fixed: translate.FixedService,
		copied: func(s *space) *objects[*corev1.Service] { return s.services },
	}
	m.keepSlices = keeper[*discoveryv1.EndpointSlice]{
		kind: kindEndpointSlice, writer: remote.endpointSliceWriter(), same: translate.SameEndpointSlice, fixed: translate.FixedEndpointSlice,
		copied: func(s *space) *objects[*discoveryv1.EndpointSlice] { return s.slices },
	}
	return m
}

// serviceChanged queues a Service, and the slices that follow from it.
func (m *serviceMirror) serviceChanged(c change[*corev1.Service]) {
	if !m.on {
		return
	}
	service := either(c)
	m.queue.Add(key{kindService, service.Namespace, service.Name})
	for _, slice := range m.slices.in(service.Namespace) {
		if translate.ServiceOf(slice) == service.Name {
			m.queue.Add(key{kindEndpointSlice, slice.Namespace, slice.Name})
		}
	}
}

func (m *serviceMirror) sliceChanged(c change[*discoveryv1.EndpointSlice]) {
	slice := either(c)
	m.queue.Add(key{kindEndpointSlice, slice.Namespace, slice.Name})
}

// hasSynced reports whether all that is mirrored has been read.
func (m *serviceMirror) hasSynced() bool {
	return m.services.hasSynced() && (!m.on || m.slices.hasSynced())
}

// uses reports whether a local namespace has a Service with a copy.
func (m *serviceMirror) uses(namespace string) bool {
	if !m.on {
		return false
	}
	for _, service := range m.services.in(namespace) {
		if m.mapper.Service(service) != nil {
			return true
		}
	}
	return false
}

// keysOf returns what to look at once a namespace can be used.
func (m *serviceMirror) keysOf(namespace string, space *space) []key {
	if !m.on {
		return nil
	}
	var keys []key
	services, slices := m.services.in(namespace), m.slices.in(namespace)
	if space != nil {
		services, slices = append(services, space.services.all()...), append(slices, space.slices.all()...)
	}
	for _, service := range services {
		keys = append(keys, key{kindService, namespace, service.Name})
	}
	for _, slice := range slices {
		keys = append(keys, key{kindEndpointSlice, namespace, slice.Name})
	}
	return keys
}

// reconcileService makes the remote copy of a Service like the local one.
func (m *serviceMirror) reconcileService(ctx context.Context, k key, attempts int) error {
	var want *corev1.Service
	local := m.services.get(k.namespace, k.name)
	if local != nil {
		want = m.mapper.Service(local)
	}
	space, err := m.space(ctx, k.namespace, want != nil)
	if space != nil {
		_, err = m.keepServices.keep(ctx, space, k.name, want)
	}
	m.complain(local, attempts, err)
	return err
}

// complain says on a local Service why pods do not reach it, once that lasts.
func (m *serviceMirror) complain(local *corev1.Service, attempts int, err error) {
	if err != nil && local != nil && attempts == patience {
		m.recorder.Eventf(local, corev1.EventTypeWarning, reasonServiceNotMirrored, "pods on node %s do not reach this service: %v", m.mapper.Node, err)
	}
}

// reconcileSlice makes the remote copy of an EndpointSlice like the local one.
func (m *serviceMirror) reconcileSlice(ctx context.Context, k key, attempts int) error {
	var (
		want *discoveryv1.EndpointSlice
		of   *corev1.Service
	)
	if local := m.slices.get(k.namespace, k.name); local != nil {
		of = m.services.get(k.namespace, translate.ServiceOf(local))
		want = m.mapper.EndpointSlice(local, of)
	}
	space, err := m.space(ctx, k.namespace, want != nil)
	if space == nil {
		return err
	}
	_, err = m.keepSlices.keep(ctx, space, k.name, want)
	m.complain(of, attempts, err)
	return err
}

// space returns the space of a local namespace, or nil while there is none. One
// that is wanted comes, and brings the key back.
func (m *serviceMirror) space(ctx context.Context, namespace string, wanted bool) (*space, error) {
	if found := m.spaces.get(namespace); found != nil || !wanted {
		return found, nil
	}
	return m.spaces.ensure(ctx, namespace)
}

// nameservers are the addresses of the local cluster's DNS, where pods reach
// them.
func (m *serviceMirror) nameservers() []string {
	if !m.on {
		return nil
	}
	return translate.ClusterDNS(m.services.get(metav1.NamespaceSystem, dnsService))
}

// mirrorServices prepares what mirroring needs, where it is configured: the
// right to follow Services, which is kube-proxy's, and the address under which
// every pod of the local cluster knows its API server.
func (d *daemon) mirrorServices(ctx context.Context, own *rest.Config) (err error) {
	if d.cfg.Services != config.ServicesMirror {
		return nil
	}
	as := own
	if d.cfg.Local.Identity == config.LocalIdentityNode {
		as = asProxy(own)
	}
	if d.local.proxy, err = kubernetes.NewForConfig(as); err != nil {
		return usagef("local cluster: %w", err)
	}
	slices := d.local.proxy.DiscoveryV1().EndpointSlices(metav1.NamespaceAll)
	if _, err := slices.List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
		if apierrors.IsForbidden(err) {
			return usagef("akd may not follow the endpoints of local services, which services: mirror needs: let its service account impersonate the user %s, or set services: none: %w", proxyUser, err)
		}
		return fmt.Errorf("list local endpointslices: %w", err)
	}
	service, err := d.local.client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("find the local service of the API server: %w", err)
	}
	if d.cfg.Local.APIServer != "" {
		d.apiServerEndpoint = d.apiServer
	}
	d.apiServer = translate.APIServer{Host: service.Spec.ClusterIP, Port: service.Spec.Ports[0].Port}
	return nil
}
