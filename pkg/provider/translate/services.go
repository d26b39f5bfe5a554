package translate

import (
	"cmp"
	"net"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// HasCopy reports whether a local Service has a remote copy. A Service without an
// IP has none: a headless or external Service consists of DNS names only.
func HasCopy(local *corev1.Service) bool {
	ip := local.Spec.ClusterIP
	return local.Spec.Type != corev1.ServiceTypeExternalName && ip != "" && ip != corev1.ClusterIPNone && local.DeletionTimestamp == nil
}

// Service returns the remote copy of a local Service. It has no selector, and the
// same IPs, so that the answers of the local DNS are valid in remote pods. It is nil
// if HasCopy is false. Access from outside the cluster remains with the local
// Service.
func (s Site) Service(local *corev1.Service) *corev1.Service {
	if !HasCopy(local) {
		return nil
	}
	remote := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name:      local.Name,
			Namespace: s.name,
			Labels:    s.Labels(local.Namespace, local.UID),
		},
		Spec: corev1.ServiceSpec{
			Type:                  corev1.ServiceTypeClusterIP,
			ClusterIP:             local.Spec.ClusterIP,
			ClusterIPs:            local.Spec.ClusterIPs,
			IPFamilies:            local.Spec.IPFamilies,
			IPFamilyPolicy:        local.Spec.IPFamilyPolicy,
			SessionAffinity:       cmp.Or(local.Spec.SessionAffinity, corev1.ServiceAffinityNone),
			SessionAffinityConfig: local.Spec.SessionAffinityConfig,
		},
	}
	for _, port := range local.Spec.Ports {
		port.NodePort = 0
		port.Protocol = cmp.Or(port.Protocol, corev1.ProtocolTCP)
		remote.Spec.Ports = append(remote.Spec.Ports, port)
	}
	return remote
}

// SameService reports whether the remote Service have equals want. It ignores labels
// and annotations that others added.
func SameService(have, want *corev1.Service) bool {
	return sameLabels(have.Labels, want.Labels) && !FixedService(have, want) &&
		have.Spec.Type == want.Spec.Type && len(have.Spec.Selector) == 0 &&
		have.Spec.SessionAffinity == want.Spec.SessionAffinity &&
		apiequality.Semantic.DeepEqual(have.Spec.SessionAffinityConfig, want.Spec.SessionAffinityConfig) &&
		apiequality.Semantic.DeepEqual(have.Spec.Ports, want.Spec.Ports)
}

// FixedService reports whether the remote Service have cannot be updated to want,
// because the addresses of a Service are immutable.
func FixedService(have, want *corev1.Service) bool {
	return have.Spec.ClusterIP != want.Spec.ClusterIP || !slices.Equal(have.Spec.ClusterIPs, want.Spec.ClusterIPs)
}

// ServiceOf returns the name of the Service that an EndpointSlice belongs to.
func ServiceOf(slice *discoveryv1.EndpointSlice) string {
	return slice.Labels[discoveryv1.LabelServiceName]
}

// SliceHasCopy reports whether a local EndpointSlice of the given Service, which
// may be nil, has a remote copy.
func SliceHasCopy(local *discoveryv1.EndpointSlice, of *corev1.Service) bool {
	return of != nil && HasCopy(of) && local.AddressType != discoveryv1.AddressTypeFQDN && local.DeletionTimestamp == nil
}

// EndpointSlice returns the remote copy of a local EndpointSlice of the given
// Service. It returns nil if SliceHasCopy is false.
//
// The copy has no names of nodes and zones, nor anything derived from them,
// because they refer to the local cluster. If the Service keeps traffic on the
// node, the copy has the endpoints on this node only.
func (s Site) EndpointSlice(local *discoveryv1.EndpointSlice, of *corev1.Service) *discoveryv1.EndpointSlice {
	if !SliceHasCopy(local, of) {
		return nil
	}
	remote := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name:      local.Name,
			Namespace: s.name,
			Labels:    s.Labels(local.Namespace, local.UID),
		},
		AddressType: local.AddressType,
		Ports:       local.Ports,
	}
	remote.Labels[discoveryv1.LabelServiceName] = of.Name
	remote.Labels[discoveryv1.LabelManagedBy] = contract.EndpointSliceManager
	stays := of.Spec.InternalTrafficPolicy != nil && *of.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal
	for i := range local.Endpoints {
		endpoint := &local.Endpoints[i]
		if stays && (endpoint.NodeName == nil || *endpoint.NodeName != s.Node) {
			continue
		}
		remote.Endpoints = append(remote.Endpoints, discoveryv1.Endpoint{Addresses: endpoint.Addresses, Conditions: endpoint.Conditions})
	}
	if of.Namespace == metav1.NamespaceDefault && of.Name == masterService {
		s.leadToAPIServer(remote)
	}
	return remote
}

// leadToAPIServer replaces the addresses of the Service kubernetes, which the local
// API servers publish, with the one where remote pods reach them, if the
// configuration has one.
func (m *Mapper) leadToAPIServer(remote *discoveryv1.EndpointSlice) {
	ip := net.ParseIP(m.APIServerEndpoint.Host)
	isIPv4 := ip.To4() != nil
	if ip == nil || isIPv4 != (remote.AddressType == discoveryv1.AddressTypeIPv4) {
		return
	}
	ready := true
	remote.Endpoints = []discoveryv1.Endpoint{
		{Addresses: []string{m.APIServerEndpoint.Host}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}},
	}
	remote.Ports = slices.Clone(remote.Ports)
	for i := range remote.Ports {
		port := m.APIServerEndpoint.Port
		remote.Ports[i].Port = &port
	}
}

// SameEndpointSlice reports whether the remote EndpointSlice have equals want.
func SameEndpointSlice(have, want *discoveryv1.EndpointSlice) bool {
	return sameLabels(have.Labels, want.Labels) && !FixedEndpointSlice(have, want) &&
		apiequality.Semantic.DeepEqual(have.Endpoints, want.Endpoints) &&
		apiequality.Semantic.DeepEqual(have.Ports, want.Ports)
}

// FixedEndpointSlice reports whether the remote EndpointSlice have cannot be updated
// to want, because its address type is immutable.
func FixedEndpointSlice(have, want *discoveryv1.EndpointSlice) bool {
	return have.AddressType != want.AddressType
}

// ClusterDNS returns the addresses of the DNS of the local cluster, given the
// Service of its DNS add-on, or none if that does not exist.
// https://github.com/kubernetes/kubernetes/tree/v1.37.1/cluster/addons/dns
func ClusterDNS(service *corev1.Service) []string {
	if service == nil || service.Spec.ClusterIP == "" || service.Spec.ClusterIP == corev1.ClusterIPNone {
		return nil
	}
	if len(service.Spec.ClusterIPs) == 0 {
		return []string{service.Spec.ClusterIP}
	}
	return service.Spec.ClusterIPs
}
