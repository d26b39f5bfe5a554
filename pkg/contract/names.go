package contract

import (
	"fmt"
	"hash/fnv"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

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

const (
	// LimitsName is the name of the ResourceQuota, LimitRange and NetworkPolicy
	// of a remote namespace, each in its own kind.
	LimitsName = "actual-vk"
	// ReservedPrefix begins the names of remote ConfigMaps and Secrets that have
	// no local object of the same name.
	ReservedPrefix = LimitsName + "-"
	// RootCAConfigMap exists in every namespace of every cluster, with that
	// cluster's own CA, and its cluster restores it when it is changed.
	// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/certificates/rootcacertpublisher/publisher.go
	RootCAConfigMap = "kube-root-ca.crt"

	tokenPrefix = ReservedPrefix + "token-"
)

// MaxNodeName is the longest name of a node, in characters. It leaves room for
// a dash and 16 hexadecimal digits in the name of a remote namespace, a DNS
// label of at most 63 characters.
const MaxNodeName = 46

// RecordName returns the name of the ConfigMap in SystemNamespace that records
// a node's remote namespaces: keys remote, values local. No node's name has a
// dot, so that it is no other node's object.
func RecordName(node string) string { return node + ".namespaces" }

// maxEventPrefix leaves room for a dot and 16 hexadecimal digits in the name of
// an event, which is at most 253 characters long.
const maxEventPrefix = 236

// EventName returns the name of the local event about a pod that repeats the
// remote event with that NAMESPACE/NAME: the same event has the same name again.
func EventName(pod, remote string) string {
	if len(pod) > maxEventPrefix {
		pod = strings.TrimRight(pod[:maxEventPrefix], "-.")
	}
	return fmt.Sprintf("%s.%x", pod, hash(remote))
}

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
	if len(node) > MaxNodeName {
		return fmt.Errorf("node name %q has %d characters: choose one of at most %d, because remote namespaces are named after the node",
			node, len(node), MaxNodeName)
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
	if local == RootCAConfigMap {
		return ReservedPrefix + RootCAConfigMap
	}
	return local
}

// LocalConfigMapName is the inverse of ConfigMapName.
func LocalConfigMapName(remote string) string {
	if remote == ReservedPrefix+RootCAConfigMap {
		return RootCAConfigMap
	}
	return remote
}

// TokenSecretName returns the name of the remote Secret with the service
// account tokens of the local pod of that UID.
func TokenSecretName(uid types.UID) string { return tokenPrefix + string(uid) }

// IsTokenSecretName reports whether a remote name is one of TokenSecretName.
func IsTokenSecretName(name string) bool { return strings.HasPrefix(name, tokenPrefix) }
