package translate

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// APIServer is where remote pods reach the local API server.
type APIServer struct {
	Host string // IP address or DNS name
	Port int32
}

// Mapper maps the local objects of one node to remote ones and back. It holds
// what is the same for every pod of one akd, and is not changed after it was
// filled in, so that goroutines may share it.
type Mapper struct {
	contract.Owner

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

	// What every remote namespace holds beside pods; see Mapper.Limits.
	ResourceQuota corev1.ResourceList
	LimitRange    []corev1.LimitRangeItem
	// Isolate shuts out other nodes' pods; AllowFrom are CIDRs outside of the
	// remote cluster that are let in then.
	Isolate   bool
	AllowFrom []string
}

// labelEnforce sets the Pod Security level of a namespace.
// https://kubernetes.io/docs/concepts/security/pod-security-admission/
const labelEnforce = "pod-security.kubernetes.io/enforce"

// Namespace returns the remote namespace to create for a local one.
func (m *Mapper) Namespace(local string) *corev1.Namespace {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:        contract.RemoteNamespace(m.Node, local),
		Labels:      m.NamespaceLabels(local),
		Annotations: map[string]string{contract.AnnotationClusterUID: string(m.ClusterUID)},
	}}
	if m.PodSecurity != "" {
		namespace.Labels[labelEnforce] = m.PodSecurity
	}
	return namespace
}
