package contract

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Domain is the prefix of every label, annotation, condition and Secret type that
// AK defines. akd does not copy labels and annotations with this prefix from a
// user's pod to the remote cluster.
const Domain = "actual.vk/"

// Labels of remote namespaces and of every remote object that akd creates.
const (
	// LabelNodeName is the name of the virtual node, which also identifies the
	// tenant.
	LabelNodeName = Domain + "node-name"
	// LabelClusterUID is the UID of the local kube-system namespace, which
	// identifies the local cluster. A node's name belongs to one local cluster.
	LabelClusterUID = Domain + "cluster-uid"
	// LabelNamespace is the name of the local namespace.
	LabelNamespace = Domain + "namespace"
	// LabelUID is the UID of the local object that the remote object was created
	// from. On the Secret with a pod's tokens, it is the UID of the pod.
	// Namespaces do not have this label.
	LabelUID = Domain + "uid"
)

// LabelNode marks the Nodes that akd serves; its value is "true".
const LabelNode = Domain + "node"

// NodeLabels returns the labels that every Node of akd has, whatever the remote nodes are.
func NodeLabels(name, hostname string) map[string]string {
	return map[string]string{
		corev1.LabelHostname: hostname,
		LabelNode:            "true",
		// By its own name, because the hostname can be configured: the volumes of the node
		// are bound to it for life.
		LabelNodeName: name,
		// Clouds neither send traffic to this node nor delete it, because it has no machine.
		// https://kubernetes.io/docs/reference/labels-annotations-taints/#node-kubernetes-io-exclude-from-external-load-balancers
		corev1.LabelNodeExcludeBalancers: "true",
		"type":                           "virtual-kubelet",
	}
}

// EndpointSliceManager is the value of the label
// endpointslice.kubernetes.io/managed-by on the EndpointSlices that akd creates.
// https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#management
const EndpointSliceManager = "akd.actual.vk"

// Annotations of remote objects.
const (
	// AnnotationApplied, on a remote pod, records the state last applied to it: a
	// hash of the mutable fields, and the keys of the labels and annotations that
	// came from the local pod. See translate.Mapper.Update.
	AnnotationApplied = Domain + "applied"
	// AnnotationDownwardPrefix, on a remote pod, begins the annotations from which files
	// of the downward API show labels and annotations of the local pod.
	AnnotationDownwardPrefix = Domain + "downward-"
	// AnnotationRenewAfter, on the Secret with a pod's tokens, is the time after
	// which akd renews them, in RFC 3339.
	AnnotationRenewAfter = Domain + "renew-after"
	// AnnotationRefreshCertificates, on the Secret with a pod's certificates, is
	// the time after which akd requests each of them again, in RFC 3339.
	AnnotationRefreshCertificates = Domain + "refresh-certificates-after"
)

// FinalizerLastState keeps a remote pod in the API until its last status is that of the
// local pod, also while akd is away. Pods that always restart have it if the local pod
// has a finalizer.
const FinalizerLastState = Domain + "last-state"

// WithoutLastState returns the strategic merge patch that takes FinalizerLastState off
// the remote pod of that UID, and off no other. It leaves the finalizers of others.
func WithoutLastState(uid types.UID) []byte { return withoutFinalizer(uid, FinalizerLastState) }

func withoutFinalizer(uid types.UID, finalizer string) []byte {
	return fmt.Appendf(nil, `{"metadata":{"uid":%q,"$deleteFromPrimitiveList/finalizers":[%q]}}`, uid, finalizer)
}

// Annotations of local pods. They locate the remote pod without a request to the
// remote cluster.
const (
	AnnotationRemoteNamespace = Domain + "remote-namespace"
	AnnotationRemoteNode      = Domain + "remote-node"
	AnnotationRemoteUID       = Domain + "remote-uid"
)

// AnnotationTokenExpires is the expiry of akd's credential for the other cluster,
// in RFC 3339. It is set on the Secret that holds the credential and on the Node.
const AnnotationTokenExpires = Domain + "token-expires"

// AnnotationLocalServer is the address of the local API server as the person who
// installed the node reached it. It is set on the node's ServiceAccount in the
// remote cluster, and helps people to find the local cluster that owns the name.
const AnnotationLocalServer = Domain + "local-server"

// AnnotationPeerUID is the UID of the namespace kube-system of the cluster that
// akd's credential leads to. It is set on the Secret with that credential.
const AnnotationPeerUID = Domain + "peer-cluster-uid"

// AnnotationInstalledKinds lists, on the ServiceAccount of a node's akd in either
// cluster, the group-kinds of all objects ever installed for the node in
// that cluster, as Kind.group, separated by commas. Uninstalling a node reads it
// to find the kinds that may have objects with the node's label. It serves the
// same purpose as applyset.kubernetes.io/contains-group-kinds on an ApplySet.
// https://github.com/kubernetes/enhancements/tree/master/keps/sig-cli/3659-kubectl-apply-prune
const AnnotationInstalledKinds = Domain + "installed-kinds"

// Conditions of local pods.
const (
	// ConditionRemoteScheduled reports whether the remote scheduler found a node.
	// It is separate from PodScheduled: the local cluster's autoscaler would add
	// nodes if PodScheduled were Unschedulable.
	ConditionRemoteScheduled corev1.PodConditionType = Domain + "RemoteScheduled"
	// ConditionRemoteCreated is False while a remote pod cannot be created. It
	// quotes the error of the remote API server.
	ConditionRemoteCreated corev1.PodConditionType = Domain + "RemoteCreated"
)

// Conditions of the Node.
const (
	// ConditionOrphanDeletionPaused is True, which indicates a problem, while akd
	// keeps remote pods without a local pod because there are too many of them.
	ConditionOrphanDeletionPaused corev1.NodeConditionType = Domain + "OrphanDeletionPaused"
	// ConditionServingCertificateSigned is False while the kubelet API serves a
	// certificate that its clients cannot verify.
	ConditionServingCertificateSigned corev1.NodeConditionType = Domain + "ServingCertificateSigned"
	// ConditionCredentialRenewed is False while akd fails to renew its credential
	// for the other cluster.
	ConditionCredentialRenewed corev1.NodeConditionType = Domain + "CredentialRenewed"
)

// ReasonCredentialRejected is the reason of the Node's condition Ready, and of an
// event, while a cluster does not accept the credential with which akd starts.
const ReasonCredentialRejected = "CredentialRejected"

// Types of remote Secrets.
const (
	// SecretTypeReplicatedToken replaces kubernetes.io/service-account-token. The
	// remote cluster deletes a Secret of that type if its ServiceAccount does not
	// exist there.
	SecretTypeReplicatedToken corev1.SecretType = Domain + "replicated-service-account-token"
	// SecretTypePodTokens marks the Secret with the projected tokens of one pod.
	SecretTypePodTokens corev1.SecretType = Domain + "pod-tokens"
)
