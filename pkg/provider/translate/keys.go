package translate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/keypattern"
)

// KeyFilter decides which labels, or annotations, of local pods are copied to their
// remote pods. The zero value decides by Keys alone.
//
// Webhooks, network plugins and runtimes of the remote cluster give a meaning to
// some keys. Whoever creates pods in the local cluster must not use them: a pod
// could get a cloud identity, a network, a device or a sidecar with rights there.
type KeyFilter struct {
	allow, deny keypattern.Set
}

// NewKeyFilter returns a filter of those patterns of package keypattern, which are
// valid. It copies keys that allow matches, and otherwise drops those that deny
// matches. Keys decides on all others.
func NewKeyFilter(allow, deny []string) KeyFilter {
	return KeyFilter{allow: keypattern.New(allow...), deny: keypattern.New(deny...)}
}

// Copies reports whether a label or annotation with that key is copied.
func (f KeyFilter) Copies(key string) bool {
	switch {
	case neverCopied(key):
		return false
	case f.allow.Matches(key):
		return true
	case f.deny.Matches(key):
		return false
	}
	return copiedByDefault(key)
}

// annotationSafeToEvict says whether an autoscaler may move a pod to remove its node.
// https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md
const annotationSafeToEvict = "cluster-autoscaler.kubernetes.io/safe-to-evict"

// neverCopied reports whether a key would make the remote pod a different one: those
// of akd, and those of static pods.
func neverCopied(key string) bool {
	lower := strings.ToLower(key)
	return strings.HasPrefix(lower, contract.Domain) || strings.HasPrefix(lower, kubeletAnnotations)
}

// kubeletAnnotations are those that a kubelet adds to static pods.
const kubeletAnnotations = "kubernetes.io/config."

// Keys is a group of keys with the default decision on them.
type Keys struct {
	Patterns []string // of package keypattern
	Copied   bool
	Why      string // a sentence for users
}

// DefaultKeys returns the decisions on keys about which the configuration says
// nothing. The first group that matches decides; a key in no group is copied.
func DefaultKeys() []Keys {
	groups := make([]Keys, len(defaultKeys))
	for i, one := range defaultKeys {
		groups[i] = one.Keys
	}
	return groups
}

type compiledKeys struct {
	Keys

	set keypattern.Set
}

// defaultKeys are the groups of DefaultKeys.
//
//nolint:gochecknoglobals // never written
var defaultKeys = compile(harmlessKeys(), localKeys(), identityKeys(), networkKeys(), runtimeKeys(), clusterKeys())

// localOnly are the keys of localKeys.
//
//nolint:gochecknoglobals // never written
var localOnly = keypattern.New(localKeys().Patterns...)

func compile(groups ...Keys) []compiledKeys {
	compiled := make([]compiledKeys, len(groups))
	for i, one := range groups {
		compiled[i] = compiledKeys{Keys: one, set: keypattern.New(one.Patterns...)}
	}
	return compiled
}

func copiedByDefault(key string) bool {
	for i := range defaultKeys {
		if defaultKeys[i].set.Matches(key) {
			return defaultKeys[i].Copied
		}
	}
	return true
}

// https://kubernetes.io/docs/reference/labels-annotations-taints/
func harmlessKeys() Keys {
	return Keys{
		Patterns: []string{
			"app.kubernetes.io/",
			"apps.kubernetes.io/pod-index", "statefulset.kubernetes.io/pod-name", "batch.kubernetes.io/",
			"kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/default-logs-container", "kubectl.kubernetes.io/restartedAt",
			"kubernetes.io/description",
			// The API server holds it equal to the field of the security context.
			"container.apparmor.security.beta.kubernetes.io/",
		},
		Copied: true,
		Why:    "They describe the pod, and nothing in the remote cluster acts on them.",
	}
}

func localKeys() Keys {
	return Keys{
		Patterns: []string{
			"kubectl.kubernetes.io/last-applied-configuration", "kubernetes.io/limit-ranger", "controller.kubernetes.io/",
			"topology.kubernetes.io/",
		},
		Why: "They are for the local control plane. The remote cluster sets the zone and region of the remote node itself.",
	}
}

func identityKeys() Keys {
	return Keys{
		Patterns: []string{
			"*amazonaws.com/", "*k8s.aws/",
			"*azure.com/", "*azure.workload.identity/", "aadpodidbinding",
			"*gke.io/", "*cloud.google.com/", "gke-*/",
			"*alibabacloud.com/", "*aliyun.com/", "*oraclecloud.com/",
			"*hashicorp.com/", "*banzaicloud.com/", "*banzaicloud.io/", "*bank-vaults.io/", "*1password.io/", "*1password.com/", "*akeyless*/",
			"*conjur.org/", "*spiffe.io/",
		},
		Why: "They give pods an identity of a cloud, or the secrets of a vault, of the remote cluster.",
	}
}

func networkKeys() Keys {
	return Keys{
		Patterns: []string{
			"*cncf.io/", "*projectcalico.org/", "*tigera.io/", "*cilium.io/", "io.cilium*", "*antrea.io/", "*ovn.org/", "*kubeovn.io/",
			"*spidernet.io/", "*kube-router.io/", "*weave.works/", "*submariner.io/",
			"*istio.io/", "*linkerd.io/", "*kuma.io/", "*openservicemesh.io/", "*nsm.nginx.com/", "*dapr.io/",
		},
		Why: "They attach pods to networks, change what network policies apply to them, or add proxies with an identity of their own.",
	}
}

func runtimeKeys() Keys {
	return Keys{
		Patterns: []string{
			"io.katacontainers*", "dev.gvisor*", "io.kubernetes.cri*", "io.containerd*", "*containerd.io/", "*crio.io", "*crio.io/",
			"*nri.io", "*nri.io/", "*kubevirt.io", "*kubevirt.io/",
			"*opentelemetry.io/", "*datadoghq.com/", "*dynatrace.com/", "*newrelic.com/",
		},
		Why: "They configure runtimes and devices of remote nodes, or have agents of the remote cluster change the pod or act for it.",
	}
}

func clusterKeys() Keys {
	return Keys{
		Patterns: []string{
			"*kubernetes.io/", "*k8s.io/",
			"*karpenter.sh/", "*volcano.sh/", "*koordinator.sh/", "*yunikorn.apache.org/",
			"*openshift.io/", "*kyverno.io/", "*gatekeeper.sh/", "*openpolicyagent.org/", "*kubewarden.io/", "*stackrox.io/",
		},
		Why: "They have a meaning for schedulers, autoscalers, admission controls and other controllers of the whole remote cluster.",
	}
}

// copied returns the labels and annotations that the remote pod gets from the local
// pod. Do not modify them: they may be those of the local pod.
func (m *Mapper) copied(local *corev1.Pod) (labels, annotations map[string]string) {
	labels, annotations = m.PodLabels.of(local.Labels), m.PodAnnotations.of(local.Annotations)
	carried := m.carried(local)
	if m.SafeToEvict && metav1.GetControllerOf(local) != nil {
		if carried == nil {
			carried = map[string]string{}
		}
		carried[annotationSafeToEvict] = cmp.Or(local.Annotations[annotationSafeToEvict], "true")
	}
	if carried != nil {
		annotations = maps.Clone(annotations)
		if annotations == nil {
			annotations = carried
		}
		maps.Copy(annotations, carried)
	}
	return labels, annotations
}

// of returns those that are copied. It returns the same map if all are.
func (f KeyFilter) of(values map[string]string) map[string]string {
	var kept map[string]string
	for key := range values {
		if f.Copies(key) {
			continue
		}
		if kept == nil {
			kept = maps.Clone(values)
		}
		delete(kept, key)
	}
	if kept == nil {
		return values
	}
	return kept
}

// NotCopied returns the labels and annotations of the local pod that the remote pod
// does not get although they may mean something to its owner, in the words of an
// event, or an empty string.
func (m *Mapper) NotCopied(local *corev1.Pod) string {
	const most = 10 // keys in one message
	var missing []string
	for _, kind := range []struct {
		name   string
		filter KeyFilter
		values map[string]string
	}{{"label", m.PodLabels, local.Labels}, {"annotation", m.PodAnnotations, local.Annotations}} {
		for _, key := range slices.Sorted(maps.Keys(kind.values)) {
			if !kind.filter.Copies(key) && !neverCopied(key) && !localOnly.Matches(key) {
				missing = append(missing, kind.name+" "+key)
			}
		}
	}
	if len(missing) == 0 {
		return ""
	}
	text := strings.Join(missing[:min(len(missing), most)], ", ")
	if more := len(missing) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return "The remote pod does not get " + text + ": such keys have a meaning in the remote cluster. " +
		"The administrator of the node can allow them."
}
