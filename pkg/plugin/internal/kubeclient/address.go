package kubeclient

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/loopback"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
)

// CheckServer refuses the value of a flag by which akd's pod cannot reach an API
// server. Empty is no address, and passes.
func CheckServer(flag, server string) error {
	if server == "" {
		return nil
	}
	parsed, err := url.Parse(server)
	if err != nil || parsed.Scheme != "https" || parsed.Hostname() == "" {
		return failure.Usagef("%s %q: want https://HOST:PORT", flag, server)
	}
	if loopback.Is(parsed.Hostname()) {
		err := failure.Usagef("%s %s is a loopback address, which means akd's own pod", flag, server)
		return failure.Hintf(err, "give the address at which pods reach that API server")
	}
	return nil
}

// Server is the address of the cluster's API server for akd: the given one, or
// the kubeconfig's, or, if that is this machine's own, one that the cluster
// publishes.
func (c *Cluster) Server(ctx context.Context, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	parsed, err := url.Parse(c.Config.Host)
	if err != nil {
		return "", fmt.Errorf("%s cluster: read its address: %w", c.Side, err)
	}
	if !loopback.Is(parsed.Hostname()) {
		return c.Config.Host, nil
	}
	published, err := c.PublishedServers(ctx)
	if err != nil {
		return "", err
	}
	for _, server := range published {
		if !loopback.Is(server.Addr().String()) {
			return "https://" + server.String(), nil
		}
	}
	err = failure.Usagef("the %s kubeconfig's server %s is a loopback address, which means akd's own pod", c.Side, c.Config.Host)
	return "", failure.Hintf(err, "give the address at which pods reach it with --%s-server", c.Side)
}

// PublishedServers are the addresses of the cluster's API servers that the
// Service kubernetes leads to. akd takes the first if its configuration names
// none.
func (c *Cluster) PublishedServers(ctx context.Context) ([]netip.AddrPort, error) {
	found, err := c.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx,
		metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return nil, fmt.Errorf("%s cluster: find the addresses of its API servers: %w", c.Side, err)
	}
	var servers []netip.AddrPort
	for i := range found.Items {
		servers = append(servers, serversIn(&found.Items[i])...)
	}
	return servers, nil
}

func serversIn(slice *discoveryv1.EndpointSlice) (servers []netip.AddrPort) {
	for _, endpoint := range slice.Endpoints {
		for _, port := range slice.Ports {
			if port.Port == nil {
				continue
			}
			for _, address := range endpoint.Addresses {
				if ip, err := netip.ParseAddr(address); err == nil {
					servers = append(servers, netip.AddrPortFrom(ip, uint16(*port.Port))) //nolint:gosec // a port that the API server has validated
				}
			}
		}
	}
	return servers
}
