package contract

import corev1 "k8s.io/api/core/v1"

// Domain prefixes the labels, annotations, conditions and types that are ours.
// Those of a user's pod under it do not reach the remote cluster.
const Domain = "actual.vk/"

// Labels of the remote namespace and of every remote object that akd makes.
const (
	// LabelNodeName names the virtual node, and with it the tenant.
	LabelNodeName = Domain + "node-name"
	// LabelNamespace names the local namespace.
	LabelNamespace = Domain + "namespace"
	// LabelUID is the UID of the local object that a remote one was made from;
	// on the Secret with a pod's tokens it is the pod's. Namespaces lack it.
	LabelUID = Domain + "uid"
)

// LabelNode marks the Nodes that akd serves; its value is "true".
const LabelNode = Domain + "node"

// EndpointSliceManager is the value of the label
// endpointslice.kubernetes.io/managed-by on the slices that akd makes.
// https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#management
const EndpointSliceManager = "akd.actual.vk"

// Annotations of remote objects.
const (
	// AnnotationClusterUID, on a remote namespace, is the UID of the local
	// kube-system namespace, which names the local cluster.
	AnnotationClusterUID = Domain + "cluster-uid"
	// AnnotationApplied, on a remote pod, records what was last applied to it:
	// a hash of the mutable fields and the keys of the labels and annotations
	// that came from the local pod. See translate.Mapper.Update.
	AnnotationApplied = Domain + "applied"
	// AnnotationRenewAfter, on the Secret with a pod's tokens, is when they are
	// to be renewed, in RFC 3339.
	AnnotationRenewAfter = Domain + "renew-after"
	// AnnotationRefreshCertificates, on the Secret with a pod's certificates, is
	// when each is to be requested anew, in RFC 3339.
	AnnotationRefreshCertificates = Domain + "refresh-certificates-after"
)

// Annotations of local pods: where the remote pod is, so that it is found
// without asking the remote cluster.
const (
	AnnotationRemoteNamespace = Domain + "remote-namespace"
	AnnotationRemoteNode      = Domain + "remote-node"
	AnnotationRemoteUID       = Domain + "remote-uid"
)

// AnnotationTokenExpires is when akd's credential for the other cluster expires,
// in RFC 3339. The Secret that holds the credential has it, and the Node.
const AnnotationTokenExpires = Domain + "token-expires"

// AnnotationInstalledKinds lists, on the ServiceAccount of a node's akd in either
// cluster, the group-kinds of everything that was ever installed for the
// node in that cluster: Kind.group, separated by commas. Uninstalling a node reads
// it to know where to look for objects with the node's label. It is what
// applyset.kubernetes.io/contains-group-kinds is to an ApplySet.
// https://github.com/kubernetes/enhancements/tree/master/keps/sig-cli/3659-kubectl-apply-prune
const AnnotationInstalledKinds = Domain + "installed-kinds"

// Conditions of local pods.
const (
	// ConditionRemoteScheduled tells whether the remote scheduler found a node.
	// It stands apart from PodScheduled: an autoscaler of the local cluster
	// would add nodes for an Unschedulable there.
	ConditionRemoteScheduled corev1.PodConditionType = Domain + "RemoteScheduled"
	// ConditionRemoteCreated is False, with the remote API server's own words,
	// while a remote pod cannot be created.
	ConditionRemoteCreated corev1.PodConditionType = Domain + "RemoteCreated"
)

// Conditions of the Node.
const (
	// ConditionOrphanDeletionPaused is True, which is a problem, while akd keeps
	// remote pods that have no local pod because they are too many.
	ConditionOrphanDeletionPaused corev1.NodeConditionType = Domain + "OrphanDeletionPaused"
	// ConditionServingCertificateSigned is False while the kubelet API shows a
	// certificate that its callers cannot verify.
	ConditionServingCertificateSigned corev1.NodeConditionType = Domain + "ServingCertificateSigned"
	// ConditionCredentialRenewed is False while akd fails to renew its credential
	// for the other cluster.
	ConditionCredentialRenewed corev1.NodeConditionType = Domain + "CredentialRenewed"
)

// Types of remote Secrets.
const (
	// SecretTypeReplicatedToken stands for kubernetes.io/service-account-token,
	// whose Secrets the remote cluster deletes when it has no such ServiceAccount.
	SecretTypeReplicatedToken corev1.SecretType = Domain + "replicated-service-account-token"
	// SecretTypePodTokens marks the Secret with the projected tokens of one pod.
	SecretTypePodTokens corev1.SecretType = Domain + "pod-tokens"
)
