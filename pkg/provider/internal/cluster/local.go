package cluster

import (
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
)

// Local reads and writes the cluster where users create pods.
type Local struct {
	client kubernetes.Interface // acts as the node
	proxy  kubernetes.Interface // acts as kube-proxy
	own    kubernetes.Interface // akd itself
	node   string
	time   *store.Timeline
}

// Clients are clients for the local cluster.
type Clients struct {
	// Node has the permissions of a kubelet.
	Node kubernetes.Interface
	// Proxy may watch EndpointSlices and is used for nothing else.
	Proxy kubernetes.Interface
	// Own is akd itself. It may watch PodDisruptionBudgets, and has the rights of a
	// provisioner of volumes. It is used for nothing else.
	Own kubernetes.Interface
}

// NewLocal returns the local cluster of a node.
func NewLocal(clients Clients, node string) *Local {
	return &Local{client: clients.Node, proxy: clients.Proxy, own: clients.Own, node: node, time: store.NewTimeline()}
}

// NodeName returns the name of the node.
func (c *Local) NodeName() string { return c.node }

// Timeline tells when the local cluster has gone back in time.
func (c *Local) Timeline() *store.Timeline { return c.time }

func (c *Local) server() store.Server { return store.Server{Client: c.client, Timeline: c.time} }

// Pods selects this node's pods in all namespaces. The Node authorizer allows no
// other list.
func (c *Local) Pods() store.ListWatch {
	return store.NewListWatch("local pods", c.server(), c.client.CoreV1().Pods(metav1.NamespaceAll), store.ByField("spec.nodeName", c.node))
}

// EndpointSlices selects all EndpointSlices, which kube-proxy may read but a node
// may not.
func (c *Local) EndpointSlices() store.ListWatch {
	server := store.Server{Client: c.proxy, Timeline: c.time}
	return store.NewListWatch("local endpointslices", server, c.proxy.DiscoveryV1().EndpointSlices(metav1.NamespaceAll), store.Everything)
}

// Services selects all Services, as a kubelet does for the environment variables
// of pods.
func (c *Local) Services() store.ListWatch {
	return store.NewListWatch("local services", c.server(), c.client.CoreV1().Services(metav1.NamespaceAll), store.Everything)
}

// DisruptionBudgets selects all PodDisruptionBudgets, which a node may not read.
func (c *Local) DisruptionBudgets() store.ListWatch {
	budgets := c.own.PolicyV1().PodDisruptionBudgets(metav1.NamespaceAll)
	return store.NewListWatch("local poddisruptionbudgets", c.ofAKD(), budgets, store.Everything)
}

// ConfigMap selects one ConfigMap. A node may watch Secrets and ConfigMaps only
// by name, and only those that its pods refer to.
func (c *Local) ConfigMap(namespace, name string) store.ListWatch {
	return store.NewListWatch("local configmap "+namespace+"/"+name, c.server(),
		c.client.CoreV1().ConfigMaps(namespace), store.ByField(metav1.ObjectNameField, name))
}

// Secret selects one Secret; see ConfigMap.
func (c *Local) Secret(namespace, name string) store.ListWatch {
	return store.NewListWatch("local secret "+namespace+"/"+name, c.server(),
		c.client.CoreV1().Secrets(namespace), store.ByField(metav1.ObjectNameField, name))
}

// TrustBundles selects all ClusterTrustBundles, as a kubelet does.
func (c *Local) TrustBundles() store.ListWatch {
	return store.NewListWatch("local clustertrustbundles", c.server(), c.client.CertificatesV1().ClusterTrustBundles(), store.Everything)
}

// localError is an error of a request to the local API server.
type localError struct{ error }

// Unwrap returns the error itself.
func (e localError) Unwrap() error { return e.error }

// IsRemotelyForbidden reports whether the remote API server has refused something, rather
// than the local one.
func IsRemotelyForbidden(err error) bool {
	_, local := errors.AsType[localError](err)
	return !local && apierrors.IsForbidden(err)
}
