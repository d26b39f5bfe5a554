package contract

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Names of the objects that manifests/ installs in the remote cluster and that
// akd uses there.
const (
	// SystemNamespace holds the objects that belong to akd rather than to pods.
	SystemNamespace = "actual-system"
	// TenantRole is the ClusterRole that a tenant binds to itself in each of its
	// namespaces, with a RoleBinding of the same name.
	TenantRole = "actual.vk:tenant"
	// TenantMetricsRole is bound in addition if the tenant may read usage.
	TenantMetricsRole = "actual.vk:tenant-metrics"
	// TenantServicesRole is bound in addition if the tenant may mirror Services.
	TenantServicesRole = "actual.vk:tenant-services"
	// TenantBudgetsRole is bound in addition if the tenant may mirror
	// PodDisruptionBudgets.
	TenantBudgetsRole = "actual.vk:tenant-budgets"
	// TenantStorageRole is bound in addition if the tenant may have
	// PersistentVolumeClaims.
	TenantStorageRole = "actual.vk:tenant-storage"
)

const (
	// LimitsName is the name of the ResourceQuota, the LimitRange and the
	// NetworkPolicy of a remote namespace.
	LimitsName = "actual-vk"
	// ReservedPrefix is the name prefix of remote ConfigMaps and Secrets that
	// have no local object of the same name.
	ReservedPrefix = LimitsName + "-"
	// DeletionMark is the name of the ConfigMap in a remote namespace whose deletion akd is
	// about to request. No local name is copied to it while the namespace is used.
	DeletionMark = LimitsName + ".deletion"
	// RootCAConfigMap exists in every namespace of every cluster and holds the CA
	// of that cluster. The cluster restores it if it is changed.
	// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/certificates/rootcacertpublisher/publisher.go
	RootCAConfigMap = "kube-root-ca.crt"
	// LabelPodSecurity is the Pod Security level that a namespace enforces.
	// https://kubernetes.io/docs/concepts/security/pod-security-admission/#pod-security-admission-labels-for-namespaces
	LabelPodSecurity = "pod-security.kubernetes.io/enforce"

	tokenPrefix = ReservedPrefix + "token-"
)

// MaxNodeName is the maximum length of a node name, in characters. It leaves room
// for a dash and 16 hexadecimal digits in the name of a remote namespace, which
// is a DNS label of at most 63 characters.
const MaxNodeName = 46

// ApproverName returns the name of the Deployment of a node's approver in
// SystemNamespace, and of its ServiceAccount. Node names contain no dot.
func ApproverName(node string) string { return node + ".approver" }

// AKDSelector returns the label selector of the pods of a node's akd.
func AKDSelector(node string) string {
	return "app.kubernetes.io/name=akd," + LabelNodeName + "=" + node
}

// RecordName returns the name of the ConfigMap in SystemNamespace that records a
// node's remote namespaces. Its keys are remote names, its values local names.
// Node names contain no dot, so the name cannot be that of another node's object.
func RecordName(node string) string { return node + ".namespaces" }

// maxEventPrefix leaves room for a dot and 16 hexadecimal digits in the name of
// an event, which has at most 253 characters.
const maxEventPrefix = 236

// EventName returns the name of the local event about a pod that repeats the
// remote event with the given NAMESPACE/NAME. The same remote event always
// results in the same name.
func EventName(pod, remote string) string {
	if len(pod) > maxEventPrefix {
		pod = strings.TrimRight(pod[:maxEventPrefix], "-.")
	}
	return pod + "." + digest(remote, 16)
}

// RemoteNamespace returns the name of the remote namespace that serves a local
// one: the node's name, a dash, and the 64-bit FNV-1 hash of the local name in
// hexadecimal. The name is a contract and does not change between versions. It is
// the first of RemoteNamespaces.
func RemoteNamespace(node, namespace string) string {
	h := fnv.New64()
	_, _ = h.Write([]byte(namespace)) // a hash.Hash never returns an error
	return fmt.Sprintf("%s-%x", node, h.Sum64())
}

// RemoteNamespaces returns the names that the remote namespace of a local one can
// have. akd takes the second one if the first serves another local namespace of
// the same node: whoever may create namespaces can compute one with the FNV hash
// of any other. The second consists of the node's name, a dash, a zero, and 15
// hexadecimal digits of the SHA-256 hash of the local name. Because of the zero, it
// cannot be the first name of any local namespace.
func RemoteNamespaces(node, namespace string) [2]string {
	return [...]string{RemoteNamespace(node, namespace), secondNamespace(node, namespace)}
}

func secondNamespace(node, namespace string) string { return node + "-0" + digest(namespace, 15) }

// IsRemoteNamespace reports whether a name is one of RemoteNamespaces.
func IsRemoteNamespace(name, node, namespace string) bool {
	return name == RemoteNamespace(node, namespace) || name == secondNamespace(node, namespace)
}

// digest returns the first digits of the SHA-256 hash in hexadecimal.
func digest(text string, digits int) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:digits]
}

// CheckNodeName returns nil if a node can have the given name. Otherwise the
// error gives the reason in one sentence.
func CheckNodeName(node string) error {
	if len(node) > MaxNodeName {
		return fmt.Errorf("node name %q has %d characters: choose one of at most %d, because remote namespaces are named after the node",
			node, len(node), MaxNodeName)
	}
	if node == "default" || node == "tenant" || strings.HasPrefix(node, "tenant-") {
		return fmt.Errorf("node name %q is reserved: objects of that name exist without such a node, "+
			"such as the ServiceAccount default and the ClusterRole %s", node, TenantRole)
	}
	if problems := validation.IsDNS1123Label(node); len(problems) > 0 {
		return fmt.Errorf("node name %q is not a DNS label, which remote namespaces need as their prefix: %s",
			node, strings.Join(problems, "; "))
	}
	return nil
}

// ReservedName returns the name of the remote copy of a local ConfigMap or Secret
// whose own name belongs to an object that akd did not make; for RootCAConfigMap, that
// is always so. It returns the empty string for the few local names that have none.
func ReservedName(local string) string {
	name := ReservedPrefix + local
	if len(name) > validation.DNS1123SubdomainMaxLength || IsTokenSecretName(name) {
		return ""
	}
	return name
}

// LocalName is the inverse of ReservedName, and leaves other names as they are: no
// object whose local name begins with ReservedPrefix is copied.
func LocalName(remote string) string {
	if IsTokenSecretName(remote) {
		return remote
	}
	return strings.TrimPrefix(remote, ReservedPrefix)
}

// TokenSecretName returns the name of the remote Secret with the service account
// tokens of the local pod with the given UID.
func TokenSecretName(uid types.UID) string { return tokenPrefix + string(uid) }

// IsTokenSecretName reports whether a remote name has the form that
// TokenSecretName returns.
func IsTokenSecretName(name string) bool { return strings.HasPrefix(name, tokenPrefix) }
