package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// apiServerService is the name, in the namespace default, of the Service and of
// the Endpoints of a cluster's API server.
const apiServerService = "kubernetes"

// UID identifies a cluster by the UID of its kube-system namespace, which exists
// in every cluster. side is local or remote, for messages.
func UID(ctx context.Context, side string, client kubernetes.Interface) (types.UID, error) {
	namespace, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("identify the %s cluster by its namespace %s: %w", side, metav1.NamespaceSystem, err)
	}
	return namespace.UID, nil
}

// PublishedAPIServers returns the addresses that the cluster publishes for its
// API server. It reads Endpoints although Kubernetes has deprecated them: they
// are one object with a known name, so permission to get it is enough, whereas
// EndpointSlices must be listed.
// https://kubernetes.io/blog/2025/04/24/endpoints-deprecation/
func (c *Local) PublishedAPIServers(ctx context.Context) ([]translate.APIServer, error) {
	published, err := c.client.CoreV1().Endpoints(metav1.NamespaceDefault).Get(ctx, apiServerService, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get local endpoints %s/%s: %w", metav1.NamespaceDefault, apiServerService, err)
	}
	return addressesOf(published), nil
}

//nolint:staticcheck // see PublishedAPIServers
func addressesOf(endpoints *corev1.Endpoints) []translate.APIServer {
	var found []translate.APIServer
	for _, subset := range endpoints.Subsets {
		for _, address := range subset.Addresses {
			for _, port := range subset.Ports {
				found = append(found, translate.APIServer{Host: address.IP, Port: port.Port})
			}
		}
	}
	return found
}

// APIServerService returns the address of the API server's Service, which every
// pod of the local cluster uses.
func (c *Local) APIServerService(ctx context.Context) (translate.APIServer, error) {
	service, err := c.client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, apiServerService, metav1.GetOptions{})
	if err != nil {
		return translate.APIServer{}, fmt.Errorf("find the local service of the API server: %w", err)
	}
	return translate.APIServer{Host: service.Spec.ClusterIP, Port: service.Spec.Ports[0].Port}, nil
}

// CanFollowBudgets returns nil if akd may list the PodDisruptionBudgets of the local cluster.
func (c *Local) CanFollowBudgets(ctx context.Context) error {
	_, err := c.own.PolicyV1().PodDisruptionBudgets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return fmt.Errorf("list local poddisruptionbudgets: %w", err)
	}
	return nil
}

// CanFollowEndpoints returns nil if akd may list the EndpointSlices of the local
// cluster, which mirrored Services require.
func (c *Local) CanFollowEndpoints(ctx context.Context) error {
	_, err := c.proxy.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return fmt.Errorf("list local endpointslices: %w", err)
	}
	return nil
}
