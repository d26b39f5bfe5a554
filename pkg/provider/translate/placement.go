package translate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Placement is what the remote scheduler learns of what local pods say about their nodes,
// in addition to what it always learns. The policies of the remote cluster admit nothing
// more.
type Placement struct {
	// NodeLabels are keys of labels of the remote nodes. Pods choose nodes by them, and
	// spread over them.
	NodeLabels []string
	// Tolerations are what pods may tolerate; see Mapper.mayTolerate.
	Tolerations []corev1.Toleration
	// RuntimeClasses and PriorityClasses are the remote classes by local ones. An empty
	// remote class is the default one.
	RuntimeClasses  map[string]string
	PriorityClasses map[string]string
	// Schedulers are those of the remote cluster that have the same name in the local one.
	Schedulers []string
}

// machineLabels are the labels of nodes by which pods always choose remote nodes: a program
// runs on no others.
func machineLabels() []string { return []string{corev1.LabelOSStable, corev1.LabelArchStable} }

// topologyLabels are the labels of nodes over which the pods of a namespace always spread.
func topologyLabels() []string {
	return []string{corev1.LabelHostname, corev1.LabelTopologyZone, corev1.LabelTopologyRegion}
}

// place removes what is for the local scheduler, and sets what is for the remote one: what
// the configuration says for all pods, and what goes along of the pod's own choice.
func (m *Mapper) place(spec *corev1.PodSpec, local *corev1.Pod, node *corev1.Node) {
	p := m.placing(local, node)
	spec.NodeName = ""
	if !slices.Contains(m.Placement.Schedulers, spec.SchedulerName) {
		spec.SchedulerName = ""
	}
	spec.SchedulingGates = nil
	spec.SchedulingGroup = nil
	spec.EvictionResponders = nil
	spec.ReadinessGates = nil
	spec.Priority = nil
	spec.PreemptionPolicy = nil
	// Admission copies Overhead from a RuntimeClass, and rejects a pod that already
	// has it.
	spec.Overhead = nil
	spec.NodeSelector = p.nodeSelector()
	spec.Affinity = p.affinity()
	spec.TopologySpreadConstraints = p.spread()
	spec.Tolerations = m.tolerations(local)
	spec.PriorityClassName = m.PriorityClassName
	if mapped, ok := m.Placement.PriorityClasses[local.Spec.PriorityClassName]; ok {
		spec.PriorityClassName = mapped
	}
	spec.RuntimeClassName = nil
	if name := m.runtimeClass(local); name != "" {
		spec.RuntimeClassName = &name
	}
}

// runtimeClass returns the remote RuntimeClass of a pod that refuseRuntime does not refuse.
func (m *Mapper) runtimeClass(local *corev1.Pod) string {
	if wanted := local.Spec.RuntimeClassName; wanted != nil {
		if mapped, ok := m.Placement.RuntimeClasses[*wanted]; ok {
			return mapped
		}
	}
	return m.RuntimeClassName
}

// refuseRuntime returns a *Refusal for a pod that requests a RuntimeClass that is neither
// mapped to a remote one nor that of all pods of the node. A class often stands for a
// sandbox, without which the pod must not run.
func (m *Mapper) refuseRuntime(local *corev1.Pod) *Refusal {
	wanted := local.Spec.RuntimeClassName
	if wanted == nil || *wanted == m.RuntimeClassName {
		return nil
	}
	if _, mapped := m.Placement.RuntimeClasses[*wanted]; mapped {
		return nil
	}
	have := "only the default runtime of the remote cluster"
	if classes := m.runtimeClasses(); len(classes) > 0 {
		have = "only " + strings.Join(classes, ", ")
	}
	return &Refusal{ReasonUnsupportedRuntimeClass, fmt.Sprintf(
		"The pod requests RuntimeClass %q, but this node has %s: change runtimeClassName, or run the pod on another node.",
		*wanted, have)}
}

// runtimeClasses returns the classes that pods may request, quoted and sorted.
func (m *Mapper) runtimeClasses() []string {
	names := slices.Collect(maps.Keys(m.Placement.RuntimeClasses))
	if m.RuntimeClassName != "" {
		names = append(names, m.RuntimeClassName)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = fmt.Sprintf("RuntimeClass %q", name)
	}
	return slices.Compact(names)
}

// refuseSelector returns a *Refusal for a pod that requires another value of a node label
// than all pods of the node have to. No remote node could have both.
func (m *Mapper) refuseSelector(local *corev1.Pod) *Refusal {
	for _, key := range slices.Sorted(maps.Keys(m.NodeSelector)) {
		wanted, ok := local.Spec.NodeSelector[key]
		if ok && wanted != m.NodeSelector[key] && m.choosesBy(key) {
			return &Refusal{ReasonUnsupportedNodeSelector, fmt.Sprintf(
				"The pod requires a node with %s=%s, but this node runs all pods on machines with %s=%s: change nodeSelector, "+
					"or run the pod on another node.", key, wanted, key, m.NodeSelector[key])}
		}
	}
	return nil
}

// tolerations keeps how long the pod stays on a lost node and what it may tolerate, and adds
// the tolerations of all pods. All others refer to local nodes.
func (m *Mapper) tolerations(local *corev1.Pod) []corev1.Toleration {
	var kept []corev1.Toleration
	for i := range local.Spec.Tolerations {
		toleration := &local.Spec.Tolerations[i]
		lost := toleration.Key == corev1.TaintNodeNotReady || toleration.Key == corev1.TaintNodeUnreachable
		if lost && toleration.Effect == corev1.TaintEffectNoExecute || m.mayTolerate(toleration) {
			kept = append(kept, *toleration.DeepCopy())
		}
	}
	for i := range m.Tolerations {
		kept = append(kept, *m.Tolerations[i].DeepCopy())
	}
	return kept
}

// mayTolerate reports whether Placement.Tolerations has one of the same key that tolerates at
// least as much.
func (m *Mapper) mayTolerate(toleration *corev1.Toleration) bool {
	return slices.ContainsFunc(m.Placement.Tolerations, func(may corev1.Toleration) bool {
		return may.Key == toleration.Key &&
			(may.Effect == "" || may.Effect == toleration.Effect) &&
			(may.Operator == corev1.TolerationOpExists ||
				cmp.Or(may.Operator, corev1.TolerationOpEqual) == cmp.Or(toleration.Operator, corev1.TolerationOpEqual) &&
					may.Value == toleration.Value)
	})
}

// choosesBy reports whether pods choose remote nodes by a label.
func (m *Mapper) choosesBy(key string) bool {
	return slices.Contains(machineLabels(), key) || slices.Contains(m.Placement.NodeLabels, key)
}

// spreadsOver reports whether pods spread over the values of a label of remote nodes.
func (m *Mapper) spreadsOver(key string) bool {
	return slices.Contains(topologyLabels(), key) || slices.Contains(m.Placement.NodeLabels, key)
}

// placing is what a pod says about its node, on the way to the remote scheduler.
type placing struct {
	*Mapper

	local *corev1.Pod
	node  *corev1.Node // the local Node, or nil if it is not known
	// leftOut are the requirements that the remote scheduler does not learn, in the order
	// in which they were met.
	leftOut []string
}

func (m *Mapper) placing(local *corev1.Pod, node *corev1.Node) *placing {
	return &placing{Mapper: m, local: local, node: node}
}

// LeftOut tells the owner of a local pod which of its requirements the remote scheduler does
// not learn, in the words of an event. It is empty if there are none. The local scheduler has
// met all of them with the labels of the local Node, so that only what those labels do not
// say matters.
func (m *Mapper) LeftOut(local *corev1.Pod, node *corev1.Node) string {
	p := m.placing(local, node)
	p.nodeSelector()
	p.affinity()
	p.spread()
	if len(p.leftOut) == 0 {
		return ""
	}
	return fmt.Sprintf("The remote scheduler does not learn what the pod requires of its node: %s. "+
		"The administrator of the node can let pods go by labels of the machines, with pods.placement.nodeLabels.",
		strings.Join(p.leftOut, ", "))
}

// OnePerNode tells the owner of a local pod, in the words of an event, that the local
// scheduler puts no second such pod on this node, or is empty. The node stands for many
// machines, but is one for the local scheduler.
func (m *Mapper) OnePerNode(local *corev1.Pod) string {
	affinity := local.Spec.Affinity
	if affinity == nil || affinity.PodAntiAffinity == nil {
		return ""
	}
	for i := range affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
		term := &affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution[i]
		selector, err := metav1.LabelSelectorAsSelector(term.LabelSelector)
		if err == nil && term.TopologyKey == corev1.LabelHostname && isOwn(term, local) && selector.Matches(labels.Set(local.Labels)) {
			return "The pod requires that no other one like it runs on its node (podAntiAffinity over kubernetes.io/hostname). " +
				"This node stands for many machines, but is one node for the local scheduler: a second such pod stays Pending. " +
				"To spread pods over the machines, use topologySpreadConstraints over kubernetes.io/hostname, " +
				"or preferredDuringSchedulingIgnoredDuringExecution; or use several such nodes."
		}
	}
	return ""
}

func (p *placing) leaves(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(p.leftOut, text) {
		p.leftOut = append(p.leftOut, text)
	}
}

// leavesLabel notes a required label of the node that the remote scheduler does not learn,
// unless the local Node alone is meant, or has the label because all remote nodes have it or
// by the configuration.
func (p *placing) leavesLabel(key string, positive bool) {
	domain, _, _ := strings.Cut(key, "/")
	switch {
	case key == corev1.LabelHostname, key == "type", domain+"/" == contract.Domain, domain == "node-role.kubernetes.io":
	case positive && slices.Contains(p.NodeLabels, key):
	default:
		p.leaves("node label %s", key)
	}
}

// nodeSelector returns the labels that a remote node must have.
func (p *placing) nodeSelector() map[string]string {
	selector := maps.Clone(p.NodeSelector)
	for _, key := range slices.Sorted(maps.Keys(p.local.Spec.NodeSelector)) {
		value := p.local.Spec.NodeSelector[key]
		if p.NodeSelector[key] == value {
			continue
		}
		if !p.choosesBy(key) {
			p.leavesLabel(key, true)
			continue
		}
		if selector == nil {
			selector = map[string]string{}
		}
		selector[key] = value
	}
	return selector
}

func (p *placing) affinity() *corev1.Affinity {
	local := p.local.Spec.Affinity
	if local == nil {
		return nil
	}
	remote := &corev1.Affinity{
		NodeAffinity:    p.nodeAffinity(local.NodeAffinity),
		PodAffinity:     p.podAffinity("pod affinity", local.PodAffinity),
		PodAntiAffinity: (*corev1.PodAntiAffinity)(p.podAffinity("pod anti-affinity", (*corev1.PodAffinity)(local.PodAntiAffinity))),
	}
	if *remote == (corev1.Affinity{}) {
		return nil
	}
	return remote
}

// podAffinity returns what goes along of an affinity or anti-affinity to pods, which have the
// same fields.
func (p *placing) podAffinity(what string, local *corev1.PodAffinity) *corev1.PodAffinity {
	if local == nil {
		return nil
	}
	remote := &corev1.PodAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution:  p.podTerms(what, local.RequiredDuringSchedulingIgnoredDuringExecution),
		PreferredDuringSchedulingIgnoredDuringExecution: p.weightedTerms(local.PreferredDuringSchedulingIgnoredDuringExecution),
	}
	if len(remote.RequiredDuringSchedulingIgnoredDuringExecution)+len(remote.PreferredDuringSchedulingIgnoredDuringExecution) == 0 {
		return nil
	}
	return remote
}

func (p *placing) nodeAffinity(local *corev1.NodeAffinity) *corev1.NodeAffinity {
	if local == nil {
		return nil
	}
	remote := &corev1.NodeAffinity{}
	remote.RequiredDuringSchedulingIgnoredDuringExecution = p.nodeTerms(local.RequiredDuringSchedulingIgnoredDuringExecution)
	for i := range local.PreferredDuringSchedulingIgnoredDuringExecution {
		preferred := &local.PreferredDuringSchedulingIgnoredDuringExecution[i]
		// A part of a preference may prefer the contrary.
		known := func(one corev1.NodeSelectorRequirement) bool { return p.choosesBy(one.Key) }
		if len(preferred.Preference.MatchFields) == 0 && all(preferred.Preference.MatchExpressions, known) {
			remote.PreferredDuringSchedulingIgnoredDuringExecution = append(
				remote.PreferredDuringSchedulingIgnoredDuringExecution, *preferred.DeepCopy())
		}
	}
	if remote.RequiredDuringSchedulingIgnoredDuringExecution == nil && remote.PreferredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	return remote
}

func all[T any](list []T, holds func(T) bool) bool {
	return !slices.ContainsFunc(list, func(one T) bool { return !holds(one) })
}

// nodeTerms returns what a remote node must be: one of those terms that the local Node meets,
// as far as remote nodes have the labels. Every remote node meets a term of which nothing
// goes along.
func (p *placing) nodeTerms(local *corev1.NodeSelector) *corev1.NodeSelector {
	if local == nil {
		return nil
	}
	remote := &corev1.NodeSelector{}
	left := p.leftOut
	everywhere := false
	for _, term := range p.metBy(local.NodeSelectorTerms) {
		kept, known := corev1.NodeSelectorTerm{}, len(p.leftOut)
		for i := range term.MatchExpressions {
			one := &term.MatchExpressions[i]
			if p.choosesBy(one.Key) {
				kept.MatchExpressions = append(kept.MatchExpressions, *one.DeepCopy())
				continue
			}
			p.leavesLabel(one.Key, one.Operator != corev1.NodeSelectorOpNotIn && one.Operator != corev1.NodeSelectorOpDoesNotExist)
		}
		if len(kept.MatchExpressions) == 0 && len(p.leftOut) == known {
			p.leftOut = left // the local Node alone is meant
			return nil
		}
		everywhere = everywhere || len(kept.MatchExpressions) == 0
		remote.NodeSelectorTerms = append(remote.NodeSelectorTerms, kept)
	}
	if everywhere || len(remote.NodeSelectorTerms) == 0 {
		return nil
	}
	return remote
}

// metBy returns the terms that the local Node meets, or all terms that are not empty if it
// is not known, or meets none any more.
func (p *placing) metBy(terms []corev1.NodeSelectorTerm) []corev1.NodeSelectorTerm {
	var met, meant []corev1.NodeSelectorTerm
	for _, term := range terms {
		if len(term.MatchExpressions)+len(term.MatchFields) == 0 {
			continue // such a term is met by no node
		}
		meant = append(meant, term)
		if p.node == nil {
			continue
		}
		selector := nodeaffinity.NewLazyErrorNodeSelector(&corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{term}})
		if matches, err := selector.Match(p.node); err == nil && matches {
			met = append(met, term)
		}
	}
	if len(met) == 0 {
		return meant
	}
	return met
}

// podTerms returns the terms about pods of the namespace that go along.
func (p *placing) podTerms(what string, terms []corev1.PodAffinityTerm) []corev1.PodAffinityTerm {
	var kept []corev1.PodAffinityTerm
	for i := range terms {
		switch term, ok := p.podTerm(&terms[i]); {
		case ok:
			kept = append(kept, term)
		case !isOwn(&terms[i], p.local):
			p.leaves("%s to pods of other namespaces", what)
		case !p.spreadsOver(terms[i].TopologyKey):
			p.leaves("%s over %s", what, terms[i].TopologyKey)
		default:
			p.leaves("%s by labels that remote pods do not get", what)
		}
	}
	return kept
}

func (p *placing) weightedTerms(terms []corev1.WeightedPodAffinityTerm) []corev1.WeightedPodAffinityTerm {
	var kept []corev1.WeightedPodAffinityTerm
	for i := range terms {
		if term, ok := p.podTerm(&terms[i].PodAffinityTerm); ok {
			kept = append(kept, corev1.WeightedPodAffinityTerm{Weight: terms[i].Weight, PodAffinityTerm: term})
		}
	}
	return kept
}

// isOwn reports whether a term is about pods of the namespace of the local pod only.
func isOwn(term *corev1.PodAffinityTerm, local *corev1.Pod) bool {
	return term.NamespaceSelector == nil && all(term.Namespaces, func(one string) bool { return one == local.Namespace })
}

func (p *placing) podTerm(local *corev1.PodAffinityTerm) (remote corev1.PodAffinityTerm, ok bool) {
	if !p.spreadsOver(local.TopologyKey) || !isOwn(local, p.local) ||
		!p.copiesAll(local.LabelSelector, slices.Concat(local.MatchLabelKeys, local.MismatchLabelKeys)) {
		return corev1.PodAffinityTerm{}, false
	}
	remote = *local.DeepCopy()
	remote.Namespaces = nil
	remote.MatchLabelKeys = withoutMerged(remote.MatchLabelKeys, remote.LabelSelector)
	remote.MismatchLabelKeys = withoutMerged(remote.MismatchLabelKeys, remote.LabelSelector)
	return remote, true
}

// spread returns the constraints that go along. In the remote cluster, tainted nodes count
// only if the pods tolerate their taints, unless the constraint says otherwise: locally, there
// are none of them.
func (p *placing) spread() []corev1.TopologySpreadConstraint {
	var kept []corev1.TopologySpreadConstraint
	for i := range p.local.Spec.TopologySpreadConstraints {
		local := &p.local.Spec.TopologySpreadConstraints[i]
		if !p.spreadsOver(local.TopologyKey) || !p.copiesAll(local.LabelSelector, local.MatchLabelKeys) {
			if local.WhenUnsatisfiable == corev1.DoNotSchedule {
				p.leaves("topology spread over %s", local.TopologyKey)
			}
			continue
		}
		remote := *local.DeepCopy()
		remote.MatchLabelKeys = withoutMerged(remote.MatchLabelKeys, remote.LabelSelector)
		if remote.NodeTaintsPolicy == nil {
			honor := corev1.NodeInclusionPolicyHonor
			remote.NodeTaintsPolicy = &honor
		}
		kept = append(kept, remote)
	}
	return kept
}

// copiesAll reports whether remote pods have all labels that a selector looks at.
func (m *Mapper) copiesAll(selector *metav1.LabelSelector, keys []string) bool {
	return all(slices.Concat(keys, selectorKeys(selector)), m.PodLabels.Copies)
}

// selectorKeys returns the labels that a selector looks at, some of them twice.
func selectorKeys(selector *metav1.LabelSelector) []string {
	if selector == nil {
		return nil
	}
	keys := slices.Collect(maps.Keys(selector.MatchLabels))
	for i := range selector.MatchExpressions {
		keys = append(keys, selector.MatchExpressions[i].Key)
	}
	return keys
}

// withoutMerged returns the keys that the local API server has not merged into the selector
// already. The remote one accepts no key in both.
// https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/3633-matchlabelkeys-to-podaffinity
func withoutMerged(keys []string, selector *metav1.LabelSelector) []string {
	if selector == nil {
		return keys
	}
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
		return slices.ContainsFunc(selector.MatchExpressions, func(one metav1.LabelSelectorRequirement) bool { return one.Key == key })
	})
}
