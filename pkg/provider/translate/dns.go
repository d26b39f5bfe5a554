package translate

import (
	"net"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Limits of dnsConfig in the API and in a kubelet.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/apis/core/validation/validation.go
const (
	maxNameservers = 3
	maxSearches    = 32
	// clusterDots is the ndots option that a kubelet sets for the DNS of the cluster.
	clusterDots = "5"
)

// resolve makes the pod resolve names as in the local cluster: with the configured
// nameservers, or with the discovered ones if there are none.
func (m *Mapper) resolve(spec *corev1.PodSpec, namespace string, discovered []string) {
	nameservers := m.Nameservers
	if len(nameservers) == 0 {
		nameservers = discovered
	}
	if len(nameservers) == 0 || !usesClusterDNS(spec) {
		m.addHostAliases(spec)
		return
	}
	dots := clusterDots
	config := &corev1.PodDNSConfig{
		Nameservers: slices.Clone(nameservers[:min(len(nameservers), maxNameservers)]),
		Searches:    []string{namespace + ".svc." + m.ClusterDomain, "svc." + m.ClusterDomain, m.ClusterDomain},
		Options:     []corev1.PodDNSConfigOption{{Name: "ndots", Value: &dots}},
	}
	if own := spec.DNSConfig; own != nil {
		config.Nameservers = union(config.Nameservers, own.Nameservers, maxNameservers)
		config.Searches = union(config.Searches, own.Searches, maxSearches)
		config.Options = mergeOptions(config.Options, own.Options)
	}
	spec.DNSPolicy, spec.DNSConfig = corev1.DNSNone, config
}

// usesClusterDNS reports whether the pod would use the DNS of the cluster.
func usesClusterDNS(spec *corev1.PodSpec) bool {
	switch spec.DNSPolicy {
	case corev1.DNSClusterFirstWithHostNet:
		return true
	case corev1.DNSClusterFirst, "":
		return !spec.HostNetwork
	case corev1.DNSDefault, corev1.DNSNone:
	}
	return false
}

// union appends what is not yet in the list, up to a length.
func union(list, more []string, length int) []string {
	for _, one := range more {
		if !slices.Contains(list, one) {
			list = append(list, one)
		}
	}
	return list[:min(len(list), length)]
}

// mergeOptions gives precedence to the options of the pod.
func mergeOptions(options, own []corev1.PodDNSConfigOption) []corev1.PodDNSConfigOption {
	options = slices.DeleteFunc(options, func(o corev1.PodDNSConfigOption) bool {
		return slices.ContainsFunc(own, func(p corev1.PodDNSConfigOption) bool { return p.Name == o.Name })
	})
	return append(options, own...)
}

// addHostAliases resolves the names of the local API server to its address. If the
// configuration has a name instead of an address, no alias is possible, and pods
// find the API server by the environment only.
func (m *Mapper) addHostAliases(spec *corev1.PodSpec) {
	if net.ParseIP(m.APIServer.Host) == nil {
		return
	}
	names := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	if m.ClusterDomain != "" {
		names = append(names, "kubernetes.default.svc."+m.ClusterDomain)
	}
	// The address is the merge key of host aliases: each must appear once.
	for i := range spec.HostAliases {
		if spec.HostAliases[i].IP == m.APIServer.Host {
			spec.HostAliases[i].Hostnames = union(spec.HostAliases[i].Hostnames, names, len(names)+len(spec.HostAliases[i].Hostnames))
			return
		}
	}
	spec.HostAliases = append(spec.HostAliases, corev1.HostAlias{IP: m.APIServer.Host, Hostnames: names})
}
