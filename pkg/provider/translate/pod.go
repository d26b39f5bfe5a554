package translate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Reasons of conditions and events on local pods.
const (
	// ReasonRemotePodDeleted is why a local pod fails whose remote pod somebody
	// deleted.
	ReasonRemotePodDeleted = "RemotePodDeleted"
	// ReasonRemotePodEnded is why a terminating local pod fails whose remote pod
	// ended before akd observed its final state.
	ReasonRemotePodEnded = "RemotePodEnded"
	// ReasonRemotePodInvalid is why a local pod fails that the remote API server
	// rejects as invalid and will never accept.
	ReasonRemotePodInvalid = "RemotePodInvalid"
	// ReasonRemotePodForeign means that a remote pod which akd did not create has
	// the name of the local pod.
	ReasonRemotePodForeign = "RemotePodForeign"
	// ReasonFormerRemotePod means that the remote pod of a former local pod of the same
	// name has not ended yet.
	ReasonFormerRemotePod = "FormerRemotePodExists"
	// ReasonNameTooLong means that no kubelet could name the folder with the logs of the
	// remote pod.
	ReasonNameTooLong = "NameTooLong"
	// ReasonNamespaceRefused means that the remote namespace is not this node's.
	ReasonNamespaceRefused = "RemoteNamespaceRefused"
	// ReasonMirrorPodDeleted is the reason of an event about a mirror pod without a static
	// pod.
	ReasonMirrorPodDeleted = "MirrorPodDeleted"
	// ReasonServiceNotMirrored is the reason of an event on a local Service.
	ReasonServiceNotMirrored = "ServiceNotMirrored"
	// ReasonBudgetNotMirrored and ReasonBudgetCut are reasons of events on a local
	// PodDisruptionBudget: it does not hold in the remote cluster, or holds fewer pods.
	ReasonBudgetNotMirrored = "DisruptionBudgetNotMirrored"
	ReasonBudgetCut         = "DisruptionBudgetCut"
	// ReasonUnsupportedVolume means that the remote cluster cannot provide a volume.
	ReasonUnsupportedVolume = "UnsupportedVolume"
	// ReasonUnsupportedResourceClaim means that the pod has dynamic resource claims.
	ReasonUnsupportedResourceClaim = "UnsupportedResourceClaim"
	// ReasonUnsupportedRuntimeClass means that the pod requests a runtime that the
	// node does not have.
	ReasonUnsupportedRuntimeClass = "UnsupportedRuntimeClass"
	// ReasonUnsupportedNodeSelector means that the pod requires a node that all pods of
	// this node must not have.
	ReasonUnsupportedNodeSelector = "UnsupportedNodeSelector"
	// ReasonRequirementsLeftOut is the reason of an event about requirements of the pod
	// that the remote scheduler does not learn.
	ReasonRequirementsLeftOut = "RequirementsLeftOut"
	// ReasonOnePerNode is the reason of an event about a pod that keeps the local
	// scheduler from putting a second one on the node.
	ReasonOnePerNode = "OnePerNode"
	// ReasonAnnotationsTooLong means that the remote pod would have more annotations
	// than the API allows.
	ReasonAnnotationsTooLong = "AnnotationsTooLong"
	// ReasonNotCopied is the reason of an event about labels and annotations that the
	// remote pod does not get.
	ReasonNotCopied = "NotCopied"
	// ReasonReservedName means that the pod refers to a name reserved for akd.
	ReasonReservedName = "ReservedName"
	// ReasonInvalidHostname means that no kubelet can set the host name.
	ReasonInvalidHostname = "InvalidHostname"
	// ReasonReferenceNotCopied means that the remote cluster refuses the copy of a
	// ConfigMap or Secret that the pod refers to.
	ReasonReferenceNotCopied = "ReferenceNotCopied"
	// ReasonTooManyReferences means that the pod refers to more ConfigMaps and
	// Secrets than one pod may.
	ReasonTooManyReferences = "TooManyReferences"
	// ReasonReferencesExhausted means that the node has no room for the ConfigMaps
	// and Secrets of another pod.
	ReasonReferencesExhausted = "ReferencesExhausted"
	// ReasonTooManyTokens means that the pod mounts too many service account tokens.
	ReasonTooManyTokens = "TooManyTokens"
	// ReasonTooManyBundles means that the pod mounts too many trust bundles.
	ReasonTooManyBundles = "TooManyTrustBundles"
	// ReasonTooManyCertificates means that the pod mounts too many certificates.
	ReasonTooManyCertificates = "TooManyCertificates"
	// ReasonPodSecretTooLarge means that what the pod mounts does not fit into its
	// Secret.
	ReasonPodSecretTooLarge = "PodSecretTooLarge"
	// ReasonRemotePodTooLarge means that an API server would not store the remote
	// pod.
	ReasonRemotePodTooLarge = "RemotePodTooLarge"
	// ReasonServiceLinksLeftOut is the reason of an event about variables of Services
	// that do not fit into the remote pod.
	ReasonServiceLinksLeftOut = "ServiceLinksLeftOut"
)

const (
	messageRemotePodDeleted = "The remote pod was deleted in the remote cluster."
	messageRemotePodLost    = "The remote pod was deleted in the remote cluster, and its node has not reported that it ended."
	messageRemotePodEnded   = "The remote pod ended before akd observed its final state."
)

// Refusal is the error for a pod that cannot run in the remote cluster. Message is
// a sentence for the owner of the pod.
type Refusal struct {
	Reason  string
	Message string
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

// maxHostname is the longest host name of Linux (HOST_NAME_MAX).
const maxHostname = 64

// PodContext has the local objects, besides the pod, from which a kubelet builds
// the environment of a pod.
type PodContext struct {
	// Services of the namespace of the pod become variables.
	Services []*corev1.Service
	// ConfigMaps and Secrets are those that containers refer to in envFrom, by
	// name. Their keys override variables of Services; their values are not used.
	ConfigMaps map[string]*corev1.ConfigMap
	Secrets    map[string]*corev1.Secret
	// Nameservers are the addresses of the DNS of the local cluster, for a Mapper
	// without Nameservers. See ClusterDNS.
	Nameservers []string
	// Node is the local Node. If it is nil, every term of a node affinity counts as met.
	Node *corev1.Node
	// links says which variables of Services the pod gets; see FittingPod.
	links serviceLinks
	// Displaced are the ConfigMaps and Secrets whose copies have reserved names.
	Displaced Displaced
	// Claims are the remote claims of the pod, by volume.
	Claims map[string]MountedClaim
	// LocalResources are extended resources that exist in the local cluster only:
	// no remote node offers them.
	LocalResources []corev1.ResourceName
}

// Pod returns the remote pod to create for a local pod. The error is a *Refusal
// if the pod cannot run in the remote cluster.
//
// Pod leaves out ephemeral containers, because the API accepts them only in a
// subresource of an existing pod. See Update.
func (s Site) Pod(local *corev1.Pod, context PodContext) (*corev1.Pod, error) {
	if err := s.refuse(local); err != nil {
		return nil, err
	}
	if refusal := s.refuseName(local); refusal != nil {
		return nil, refusal
	}
	spec := *local.Spec.DeepCopy()
	s.place(&spec, local, context.Node)
	stripIdentity(&spec)
	spec.EphemeralContainers = nil
	if err := s.setHostname(&spec, local); err != nil {
		return nil, err
	}
	s.resolve(&spec, local.Namespace, context.Nameservers)
	s.translateVolumes(spec.Volumes, local)
	mountClaims(spec.Volumes, context.Claims)
	dropResources(&spec, context.LocalResources)
	env := &environment{mapper: s.Mapper, local: local, variables: s.variables(local, &context), context: context}
	for i := range spec.InitContainers {
		env.translate(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		env.translate(&spec.Containers[i])
	}
	context.Displaced.rename().pod(&spec)
	meta := s.podMeta(local)
	if refusal := refuseMetadata(&meta); refusal != nil {
		return nil, refusal
	}
	remote := &corev1.Pod{ObjectMeta: meta, Spec: spec}
	s.colocate(remote, context.Claims)
	if refusal := podTooLarge(remote); refusal != nil {
		return nil, refusal
	}
	return remote, nil
}

// FittingPod is Pod for a pod that would become too large by the variables of
// Services: it leaves out as many kinds of them as it must. leftOut tells the owner of
// the pod so, in the words of an event, or is empty.
func (s Site) FittingPod(local *corev1.Pod, context PodContext) (remote *corev1.Pod, leftOut string, err error) {
	remote, err = s.Pod(local, context)
	for _, less := range []struct {
		links serviceLinks
		keeps string
	}{{addresses, "NAME_SERVICE_HOST and NAME_SERVICE_PORT"}, {noLinks, "those of the API server"}} {
		refusal, refused := errors.AsType[*Refusal](err)
		if !refused || refusal.Reason != ReasonRemotePodTooLarge {
			break
		}
		context.links = less.links
		remote, err = s.Pod(local, context)
		leftOut = fmt.Sprintf("The variables of the %d Services of the namespace do not fit into the remote pod: of them, it gets only %s. "+
			"If the pod needs none of them, set enableServiceLinks: false.", len(context.Services), less.keeps)
	}
	return remote, leftOut, err
}

// refuseName returns a *Refusal for a pod whose name no kubelet could use with the
// remote namespace, whose name is longer than that of many local ones. The folder with
// the logs is named NAMESPACE_NAME_UID, and Linux allows 255 bytes.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/kubelet/kuberuntime/helpers.go (BuildPodLogsDirectory)
func (s Site) refuseName(local *corev1.Pod) *Refusal {
	const maxFileName, uid = 255, 36
	limit := maxFileName - len(s.name) - uid - len("__")
	if len(local.Name) <= limit {
		return nil
	}
	return &Refusal{ReasonNameTooLong, fmt.Sprintf(
		"The name of the pod has %d characters, and on this node it can have %d: a kubelet names the folder with the logs "+
			"after the pod and remote namespace %s. Use a shorter name.", len(local.Name), limit, s.name)}
}

// ExtendedResources returns the requested resources that are not defined by
// Kubernetes, such as example.com/dongle.
// https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#extended-resources
func ExtendedResources(pod *corev1.Pod) []corev1.ResourceName {
	var names []corev1.ResourceName
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			for name := range containers[i].Resources.Requests {
				if strings.Contains(string(name), "/") && !strings.Contains(string(name), "kubernetes.io/") {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func dropResources(spec *corev1.PodSpec, names []corev1.ResourceName) {
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			for _, name := range names {
				delete(containers[i].Resources.Requests, name)
				delete(containers[i].Resources.Limits, name)
			}
		}
	}
}

func (s Site) podMeta(local *corev1.Pod) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{
		Name:        local.Name,
		Namespace:   s.name,
		Labels:      s.Labels(local.Namespace, local.UID),
		Annotations: map[string]string{contract.AnnotationApplied: s.applied(local)},
	}
	labels, annotations := s.copied(local)
	maps.Copy(meta.Labels, labels)
	maps.Copy(meta.Annotations, annotations)
	meta.OwnerReferences = s.controller(local)
	if awaited(local) {
		meta.Finalizers = []string{contract.FinalizerLastState}
	}
	return meta
}

// controller returns the remote namespace as the controller of a pod that a local controller
// replaces: kubectl drain and autoscalers leave alone, or refuse to move, a pod without one.
// No other object of the namespace lives as long as its pods, and the garbage collector
// deletes a pod whose controller is gone.
// https://kubernetes.io/docs/reference/kubectl/generated/kubectl_drain/
func (s Site) controller(local *corev1.Pod) []metav1.OwnerReference {
	if s.uid == "" || metav1.GetControllerOf(local) == nil {
		return nil
	}
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "Namespace", Name: s.name, UID: s.uid, Controller: new(true)}}
}

// refuseMetadata returns a *Refusal for a pod whose remote pod would have more
// annotations than the API allows: some are there twice, for the downward API.
func refuseMetadata(meta *metav1.ObjectMeta) *Refusal {
	if err := apivalidation.ValidateAnnotationsSize(meta.Annotations); err != nil {
		return &Refusal{ReasonAnnotationsTooLong, fmt.Sprintf(
			"The annotations of the remote pod would have more than %d bytes, with those that akd adds: use fewer.",
			apivalidation.TotalAnnotationSizeLimitB)}
	}
	return nil
}

// stripIdentity keeps identities of the remote cluster out of the pod.
func stripIdentity(spec *corev1.PodSpec) {
	no := false
	spec.ServiceAccountName = ""
	spec.DeprecatedServiceAccount = ""
	spec.AutomountServiceAccountToken = &no
	spec.EnableServiceLinks = new(bool)
}

// setHostname makes the local fully qualified name the host name of a pod that
// requests it: the remote kubelet would use the remote namespace. A pod in the
// host network always has the name of the node.
func (m *Mapper) setHostname(spec *corev1.PodSpec, local *corev1.Pod) error {
	wants := spec.SetHostnameAsFQDN != nil && *spec.SetHostnameAsFQDN
	if !wants || spec.Subdomain == "" || spec.HostNetwork {
		return nil
	}
	name := spec.Hostname
	if name == "" {
		name = local.Name
	}
	if len(name) > validation.DNS1123LabelMaxLength {
		name = strings.TrimRight(name[:validation.DNS1123LabelMaxLength], "-.")
	}
	fqdn := fmt.Sprintf("%s.%s.%s.svc.%s", name, spec.Subdomain, local.Namespace, m.ClusterDomain)
	if len(fqdn) > maxHostname {
		return &Refusal{ReasonInvalidHostname, fmt.Sprintf(
			"The host name %s has %d characters, but at most %d are allowed: use shorter names, or do not set setHostnameAsFQDN.",
			fqdn, len(fqdn), maxHostname)}
	}
	spec.SetHostnameAsFQDN = nil
	spec.HostnameOverride = &fqdn
	return nil
}
