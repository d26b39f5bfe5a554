package kubeclient

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// dialTimeout is how long an API server may take to accept a connection that is
// probably not reached at all: its address is often one inside the cluster.
const dialTimeout = 2 * time.Second

// Servers returns the cluster by each of its API servers that can be reached
// directly from here, and proves to be one: those that the cluster publishes as
// endpoints of the Service kubernetes. There may be none. Who asks each of them is
// sure of all, whatever balances the load before them.
func (c *Cluster) Servers(ctx context.Context) ([]*Cluster, error) {
	if c.Config.Insecure || c.Config.Proxy != nil {
		return nil, nil // not to be proved, or not to be reached
	}
	found, err := c.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx,
		metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return nil, fmt.Errorf("%s cluster: list its API servers: %w", c.Side, err)
	}
	var servers []*Cluster
	for i := range found.Items {
		for _, address := range serverAddresses(&found.Items[i]) {
			if server := c.server(ctx, address); server != nil {
				servers = append(servers, server)
			}
		}
	}
	return servers, nil
}

func serverAddresses(slice *discoveryv1.EndpointSlice) []string {
	var addresses []string
	for _, port := range slice.Ports {
		if port.Port == nil || port.Name != nil && *port.Name != "https" {
			continue
		}
		for i := range slice.Endpoints {
			for _, address := range slice.Endpoints[i].Addresses {
				addresses = append(addresses, net.JoinHostPort(address, strconv.Itoa(int(*port.Port))))
			}
		}
	}
	return addresses
}

// server returns the cluster by one API server, or nil if it is not to be reached
// there.
func (c *Cluster) server(ctx context.Context, address string) *Cluster {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil
	}
	_ = connection.Close()
	config := rest.CopyConfig(c.Config)
	// It has the certificate of the server that the user named.
	if given, err := url.Parse(config.Host); err == nil && config.ServerName == "" {
		config.ServerName = given.Hostname()
	}
	config.Host = "https://" + address
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil
	}
	system, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil || system.UID != c.UID {
		return nil
	}
	server := *c
	server.Config, server.Client = config, client
	return &server
}
