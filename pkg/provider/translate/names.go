package translate

import (
	"fmt"
	"hash/fnv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Labels of the remote namespace and of every remote object that akd makes.
const (
	// LabelNodeName names the virtual node, and with it the tenant.
	LabelNodeName = "actual.vk/node-name"
	// LabelNamespace names the local namespace.
	LabelNamespace = "actual.vk/namespace"
	// LabelUID is the UID of the local object that a remote one was made from;
	// on the Secret with a pod's tokens it is the pod's. Namespaces lack it.
	LabelUID = "actual.vk/uid"
)

// Annotations of remote objects.
const (
	// AnnotationClusterUID, on a remote namespace, is the UID of the local
	// kube-system namespace, which names the local cluster.
	AnnotationClusterUID = "actual.vk/cluster-uid"
	// AnnotationApplied, on a remote pod, records what was last applied to it:
	// a hash of the mutable fields and the keys of the labels and annotations
	// that came from the local pod. See Site.Update.
	AnnotationApplied = "actual.vk/applied"
	// AnnotationRenewAfter, on the Secret with a pod's tokens, is when they are
	// to be renewed, in RFC 3339.
	AnnotationRenewAfter = "actual.vk/renew-after"
)

// Annotations of local pods: where the remote pod is, so that it is found
// without asking the remote cluster.
const (
	AnnotationRemoteNamespace = "actual.vk/remote-namespace"
	AnnotationRemoteNode      = "actual.vk/remote-node"
	AnnotationRemoteUID       = "actual.vk/remote-uid"
)

// AnnotationTokenExpires says when akd's credential ends, RFC 3339, on the
// Secret that holds it.
const AnnotationTokenExpires = "actual.vk/token-expires"

// Names of what manifests/ installs in the remote cluster and akd uses there.
const (
	// SystemNamespace holds what belongs to akds rather than to pods.
	SystemNamespace = "actual-system"
	// TenantRole is the cluster role that a tenant binds for itself in each of
	// its namespaces, by a role binding of the same name.
	TenantRole = "actual.vk:tenant"
	// TenantMetricsRole is bound beside it where usage may be read.
	TenantMetricsRole = "actual.vk:tenant-metrics"
	// TenantServicesRole is bound beside it where Services may be mirrored.
	TenantServicesRole = "actual.vk:tenant-services"
)

// RecordName returns the name of the ConfigMap in SystemNamespace that records
// a node's remote namespaces: keys remote, values local. No node's name has a
// dot, so that it is no other node's object.
func RecordName(node string) string { return node + ".namespaces" }

const (
	// domain prefixes labels, annotations and conditions that are ours.
	domain = "actual.vk/"
	// reservedPrefix begins the names of remote ConfigMaps and Secrets that
	// have no local object of the same name.
	reservedPrefix = "actual-vk-"
	// rootCAConfigMap exists in every namespace of every cluster, with that
	// cluster's own CA, and its cluster restores it when it is changed.
	// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/certificates/rootcacertpublisher/publisher.go
	rootCAConfigMap = "kube-root-ca.crt"
	tokenPrefix     = reservedPrefix + "token-"

	labelEnforce = "pod-security.kubernetes.io/enforce"

	// maxNodeName leaves room for a dash and 16 hexadecimal digits in the name
	// of a remote namespace, a DNS label of at most 63 characters.
	maxNodeName = 46
)

// RemoteNamespace returns the name of the remote namespace that serves a local
// one: the node's name, a dash, and the 64 bit FNV-1 hash of the local name in
// hexadecimal. The name is a contract and does not change between versions.
func RemoteNamespace(node, namespace string) string {
	return fmt.Sprintf("%s-%x", node, hash(namespace))
}

func hash(s string) uint64 {
	h := fnv.New64()
	_, _ = h.Write([]byte(s)) // a hash.Hash never returns an error
	return h.Sum64()
}

// CheckNodeName returns an error that says in a sentence why a node cannot have
// that name, or nil.
func CheckNodeName(node string) error {
	if len(node) > maxNodeName {
		return fmt.Errorf("node name %q has %d characters: choose one of at most %d, because remote namespaces are named after the node",
			node, len(node), maxNodeName)
	}
	if problems := validation.IsDNS1123Label(node); len(problems) > 0 {
		return fmt.Errorf("node name %q is not a DNS label, which remote namespaces need as their prefix: %s",
			node, strings.Join(problems, "; "))
	}
	return nil
}

// ConfigMapName returns the name of the remote copy of a local ConfigMap: the
// same, but for kube-root-ca.crt, which the remote cluster keeps for its own CA.
func ConfigMapName(local string) string {
	if local == rootCAConfigMap {
		return reservedPrefix + rootCAConfigMap
	}
	return local
}

// LocalConfigMapName is the inverse of ConfigMapName.
func LocalConfigMapName(remote string) string {
	if remote == reservedPrefix+rootCAConfigMap {
		return rootCAConfigMap
	}
	return remote
}

// TokenSecretName returns the name of the remote Secret with the service
// account tokens of the local pod of that UID.
func TokenSecretName(uid types.UID) string { return tokenPrefix + string(uid) }

// APIServer is where remote pods reach the local API server.
type APIServer struct {
	Host string // IP address or DNS name
	Port int32
}

// Site is what is the same for every pod of one akd. It is not changed after
// it was filled in, so that goroutines may share it.
type Site struct {
	// Node is the name of the virtual node; see CheckNodeName.
	Node string
	// ClusterUID is the UID of the local kube-system namespace.
	ClusterUID types.UID
	// APIServer is the local API server as remote pods reach it.
	APIServer APIServer
	// APIServerEndpoint is where the mirrored Service kubernetes leads, when not
	// to the addresses that it has locally; see EndpointSlice.
	APIServerEndpoint APIServer
	// ClusterDomain is the local cluster's DNS domain, mostly cluster.local.
	ClusterDomain string
	// Nameservers are the addresses of the local cluster's DNS, where remote
	// pods reach it. Pods whose dnsPolicy is that of the cluster then use it,
	// and it leads them to the API server too; without, they use the remote
	// cluster's DNS, and host aliases lead to the API server.
	Nameservers []string
	// PodSecurity is the Pod Security level that remote namespaces enforce.
	PodSecurity string
	// Env is set in every container that does not set it itself.
	Env []corev1.EnvVar

	// What decides where the remote cluster runs the pods.
	NodeSelector      map[string]string
	Tolerations       []corev1.Toleration
	RuntimeClassName  string
	PriorityClassName string

	// What every remote namespace holds beside pods; see Site.Limits.
	ResourceQuota corev1.ResourceList
	LimitRange    []corev1.LimitRangeItem
	// Isolate shuts out other nodes' pods; AllowFrom are CIDRs outside of the
	// remote cluster that are let in then.
	Isolate   bool
	AllowFrom []string
}

// Namespace returns the remote namespace to create for a local one.
func (s *Site) Namespace(local string) *corev1.Namespace {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:        RemoteNamespace(s.Node, local),
		Labels:      map[string]string{LabelNodeName: s.Node, LabelNamespace: local},
		Annotations: map[string]string{AnnotationClusterUID: string(s.ClusterUID)},
	}}
	if s.PodSecurity != "" {
		namespace.Labels[labelEnforce] = s.PodSecurity
	}
	return namespace
}

// OwnsNamespace returns nil when a remote namespace serves that local namespace
// of this node and cluster, and otherwise a sentence that says why it does not.
// The hash in its name is no proof: two local names may share one, and so may
// two clusters whose nodes have the same name.
func (s *Site) OwnsNamespace(remote *corev1.Namespace, local string) error {
	node, namespace := remote.Labels[LabelNodeName], remote.Labels[LabelNamespace]
	cluster := remote.Annotations[AnnotationClusterUID]
	switch {
	case node == "" && namespace == "":
		return fmt.Errorf("remote namespace %s exists, but akd did not make it: delete it, or give the node another name", remote.Name)
	case remote.Name != RemoteNamespace(s.Node, local):
		return fmt.Errorf("remote namespace %s is not the one of local namespace %s on node %s, which is %s",
			remote.Name, local, s.Node, RemoteNamespace(s.Node, local))
	case node != s.Node:
		return fmt.Errorf("remote namespace %s belongs to node %q, not to %s: give this node another name", remote.Name, node, s.Node)
	case namespace != local:
		return fmt.Errorf("remote namespace %s serves local namespace %q, whose name has the same hash as %q: rename one of the two", remote.Name, namespace, local)
	case cluster != string(s.ClusterUID):
		return fmt.Errorf("remote namespace %s belongs to another local cluster (%s: %q, this one is %q): give this node another name",
			remote.Name, AnnotationClusterUID, cluster, s.ClusterUID)
	}
	return nil
}

// OwnsPod returns nil when akd made a remote pod for some local pod of that
// namespace, and otherwise a sentence that says why not.
func (s *Site) OwnsPod(remote *corev1.Pod, namespace string) error {
	switch {
	case remote.Labels[LabelUID] == "" || remote.Labels[LabelNodeName] != s.Node:
		return fmt.Errorf("remote pod %s/%s exists, but akd on node %s did not make it: delete or rename it", remote.Namespace, remote.Name, s.Node)
	case remote.Labels[LabelNamespace] != namespace || remote.Namespace != RemoteNamespace(s.Node, namespace):
		return fmt.Errorf("remote pod %s/%s is not of local namespace %s, but of %q: delete or rename it",
			remote.Namespace, remote.Name, namespace, remote.Labels[LabelNamespace])
	}
	return nil
}

// isFor reports whether a remote pod was made for this very local pod.
func (s *Site) isFor(remote, local *corev1.Pod) bool {
	return remote != nil && local != nil && remote.Name == local.Name &&
		remote.Labels[LabelUID] == string(local.UID) && s.OwnsPod(remote, local.Namespace) == nil
}

// labels returns the labels of a remote object made from a local one.
func (s *Site) labels(namespace string, uid types.UID) map[string]string {
	return map[string]string{LabelNodeName: s.Node, LabelNamespace: namespace, LabelUID: string(uid)}
}
