package translate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Reasons of conditions and events on local pods.
const (
	// ReasonRemotePodDeleted ends a local pod whose remote pod somebody deleted.
	ReasonRemotePodDeleted = "RemotePodDeleted"
	// ReasonRemotePodEnded ends a terminating local pod whose remote pod ended
	// before its last state was seen.
	ReasonRemotePodEnded = "RemotePodEnded"
	// ReasonRemotePodInvalid ends a local pod that the remote API server calls
	// invalid: it will never accept it.
	ReasonRemotePodInvalid = "RemotePodInvalid"
	// ReasonRemotePodForeign is given while a remote pod that akd did not make
	// has the local pod's name.
	ReasonRemotePodForeign = "RemotePodForeign"
	// ReasonUnsupportedVolume is given for a volume that cannot work remotely.
	ReasonUnsupportedVolume = "UnsupportedVolume"
	// ReasonUnsupportedResourceClaim is given for dynamic resource claims.
	ReasonUnsupportedResourceClaim = "UnsupportedResourceClaim"
	// ReasonReservedName is given for references to names that akd keeps for itself.
	ReasonReservedName = "ReservedName"
	// ReasonInvalidHostname is given for a host name that no kubelet can set.
	ReasonInvalidHostname = "InvalidHostname"
)

const (
	messageRemotePodDeleted = "The remote pod was deleted in the remote cluster."
	messageRemotePodLost    = "The remote pod was deleted in the remote cluster, and its node does not tell that it has ended."
)

// Refusal is the error of a pod that cannot work remotely. Message is a sentence
// for the pod's owner.
type Refusal struct {
	Reason  string
	Message string
}

// Error returns the sentence.
func (r *Refusal) Error() string { return r.Message }

const (
	// kubeletAnnotations are what a kubelet writes to pods of its own files.
	kubeletAnnotations = "kubernetes.io/config."
	// maxHostname is what a Linux kernel takes as host name (HOST_NAME_MAX).
	maxHostname = 64
)

// PodContext are the local objects, beside the pod, that a kubelet looks at
// when it makes a pod's environment.
type PodContext struct {
	// Services of the pod's namespace become variables.
	Services []*corev1.Service
	// ConfigMaps and Secrets that containers refer to by envFrom, by name. Their
	// keys win over variables of Services; their values are not looked at.
	ConfigMaps map[string]*corev1.ConfigMap
	Secrets    map[string]*corev1.Secret
	// Nameservers are the addresses of the local cluster's DNS where the Mapper
	// names none: see ClusterDNS.
	Nameservers []string
	// LocalResources are extended resources that only the local cluster counts:
	// no remote node could offer them.
	LocalResources []corev1.ResourceName
}

// Pod returns the remote pod to create for a local one. The error is a
// *Refusal when the pod cannot work remotely.
//
// Ephemeral containers are left out, because the API takes them only from a
// subresource of an existing pod: see Update.
func (m *Mapper) Pod(local *corev1.Pod, context PodContext) (*corev1.Pod, error) {
	if err := refuse(local); err != nil {
		return nil, err
	}
	spec := *local.Spec.DeepCopy()
	m.place(&spec, local)
	stripIdentity(&spec)
	spec.EphemeralContainers = nil
	if err := m.setHostname(&spec, local); err != nil {
		return nil, err
	}
	m.resolve(&spec, local.Namespace, context.Nameservers)
	translateVolumes(spec.Volumes, local)
	dropResources(&spec, context.LocalResources)
	env := &environment{mapper: m, local: local, variables: m.variables(local, context.Services), context: context}
	for i := range spec.InitContainers {
		env.translate(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		env.translate(&spec.Containers[i])
	}
	return &corev1.Pod{ObjectMeta: m.podMeta(local), Spec: spec}, nil
}

// ExtendedResources returns the resources that a pod asks for and that
// Kubernetes itself knows nothing of, such as example.com/dongle.
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

func (m *Mapper) podMeta(local *corev1.Pod) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{
		Name:        local.Name,
		Namespace:   contract.RemoteNamespace(m.Node, local.Namespace),
		Labels:      m.Labels(local.Namespace, local.UID),
		Annotations: map[string]string{contract.AnnotationApplied: m.applied(local)},
	}
	for key, value := range local.Labels {
		if keepsKey(key) {
			meta.Labels[key] = value
		}
	}
	for key, value := range local.Annotations {
		if keepsKey(key) {
			meta.Annotations[key] = value
		}
	}
	return meta
}

// keepsKey reports whether a label or annotation of the local pod goes along.
// Ours do not, nor do the kubelet's marks of static pods.
func keepsKey(key string) bool {
	return !strings.HasPrefix(key, contract.Domain) && !strings.HasPrefix(key, kubeletAnnotations)
}

// place strips what made the local scheduler choose our node and sets what the
// configuration says for the remote scheduler.
func (m *Mapper) place(spec *corev1.PodSpec, local *corev1.Pod) {
	spec.NodeName = ""
	spec.SchedulerName = ""
	spec.Affinity = nil
	spec.TopologySpreadConstraints = nil
	spec.SchedulingGates = nil
	spec.SchedulingGroup = nil
	spec.EvictionResponders = nil
	spec.ReadinessGates = nil
	spec.Priority = nil
	spec.PreemptionPolicy = nil
	// Overhead is what admission copies from a RuntimeClass; a pod that brings
	// its own is refused.
	spec.Overhead = nil
	spec.NodeSelector = maps.Clone(m.NodeSelector)
	spec.Tolerations = m.tolerations(local)
	spec.PriorityClassName = m.PriorityClassName
	spec.RuntimeClassName = nil
	if m.RuntimeClassName != "" {
		name := m.RuntimeClassName
		spec.RuntimeClassName = &name
	}
}

// tolerations keeps how long the pod stays on a node that is lost, and adds the
// configured ones. All others tell of local nodes.
func (m *Mapper) tolerations(local *corev1.Pod) []corev1.Toleration {
	var kept []corev1.Toleration
	for i := range local.Spec.Tolerations {
		toleration := &local.Spec.Tolerations[i]
		lost := toleration.Key == corev1.TaintNodeNotReady || toleration.Key == corev1.TaintNodeUnreachable
		if lost && toleration.Effect == corev1.TaintEffectNoExecute {
			kept = append(kept, *toleration.DeepCopy())
		}
	}
	for i := range m.Tolerations {
		kept = append(kept, *m.Tolerations[i].DeepCopy())
	}
	return kept
}

// stripIdentity keeps the remote cluster's own identity out of the pod.
func stripIdentity(spec *corev1.PodSpec) {
	no := false
	spec.ServiceAccountName = ""
	spec.DeprecatedServiceAccount = ""
	spec.AutomountServiceAccountToken = &no
	spec.EnableServiceLinks = new(bool)
}

// setHostname gives the pod its local fully qualified name as host name when it
// asks for that: the remote kubelet would make it from the remote namespace.
// A pod in the node's network has the node's name, whatever it asks for.
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
			"The host name %s has %d characters, and a kernel takes %d: use shorter names, or do without setHostnameAsFQDN.",
			fqdn, len(fqdn), maxHostname)}
	}
	spec.SetHostnameAsFQDN = nil
	spec.HostnameOverride = &fqdn
	return nil
}
