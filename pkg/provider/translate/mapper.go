package translate

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// APIServer is the address of the local API server for remote pods.
type APIServer struct {
	Host string // IP address or DNS name
	Port int32
}

// Mapper maps the local objects of one node to remote objects and back. It holds
// what is the same for all pods of one akd. Do not modify it after it is filled
// in, so that goroutines can share it.
type Mapper struct {
	contract.Owner
	Bounds

	// APIServer is where remote pods reach the local API server.
	APIServer APIServer
	// APIServerEndpoint is the endpoint of the mirrored Service kubernetes, if it
	// is not that of the local Service; see EndpointSlice.
	APIServerEndpoint APIServer
	// ClusterDomain is the DNS domain of the local cluster, usually cluster.local.
	ClusterDomain string
	// Nameservers are the addresses where remote pods reach the DNS of the local
	// cluster. Pods whose dnsPolicy selects the DNS of the cluster use it, also to
	// find the API server. If it is empty, they use the DNS of the remote cluster,
	// and find the API server by host aliases.
	Nameservers []string
	// PodSecurity is the Pod Security level that remote namespaces enforce.
	PodSecurity string
	// InstalledLabels and InstalledAnnotations are on every remote namespace, besides
	// the labels by which it belongs to the node.
	InstalledLabels      map[string]string
	InstalledAnnotations map[string]string
	// Env has variables for every container that does not set them itself.
	Env []corev1.EnvVar

	// PodLabels and PodAnnotations decide which of them remote pods get.
	PodLabels      KeyFilter
	PodAnnotations KeyFilter

	// These control where the remote cluster runs all pods, and Placement what a pod's own
	// choice adds.
	NodeSelector      map[string]string
	Tolerations       []corev1.Toleration
	RuntimeClassName  string
	PriorityClassName string
	Placement         Placement
	// SafeToEvict tells the remote cluster's autoscaler that it may move pods with a
	// controller.
	SafeToEvict bool
	// NodeLabels are the keys of the labels that the local Node has because all remote
	// nodes have them, or by the configuration.
	NodeLabels []string

	// Storage says that pods may have claims, whose data is in the remote cluster.
	// StorageClasses are those of the remote cluster that claims can have. Colocate keeps
	// pods that share a claim on one machine, where it needs that.
	Storage        bool
	StorageClasses []string
	Colocate       bool

	// MaxUnevictable is how many pods a mirrored PodDisruptionBudget keeps from being evicted
	// at most. The policies of the remote cluster admit no larger one.
	MaxUnevictable int32

	// These restrict every remote namespace; see Mapper.Limits.
	ResourceQuota corev1.ResourceList
	LimitRange    []corev1.LimitRangeItem
	// Isolate excludes traffic from the pods of other nodes. AllowFrom are CIDRs
	// outside the remote cluster that are still admitted.
	Isolate   bool
	AllowFrom []string
}

// Site maps the local objects of one namespace to its remote namespace, whose name
// does not follow from the local name alone: see contract.RemoteNamespaces.
type Site struct {
	*Mapper

	name string // of the remote namespace
	uid  types.UID
}

// In returns the Site of the remote namespace of that name.
func (m *Mapper) In(remoteNamespace string) Site { return Site{Mapper: m, name: remoteNamespace} }

// WithUID returns the Site of a remote namespace that exists. Pods that a local controller
// replaces name it as their controller.
func (s Site) WithUID(uid types.UID) Site {
	s.uid = uid
	return s
}

// Namespace returns the remote namespace itself, to be created for a local one.
func (s Site) Namespace(local string) *corev1.Namespace {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:        s.name,
		Labels:      map[string]string{},
		Annotations: maps.Clone(s.InstalledAnnotations),
	}}
	maps.Copy(namespace.Labels, s.InstalledLabels)
	maps.Copy(namespace.Labels, s.NamespaceLabels(local))
	if s.PodSecurity != "" {
		namespace.Labels[contract.LabelPodSecurity] = s.PodSecurity
	}
	return namespace
}
