package translate

import (
	"fmt"
	"slices"
	"strings"

	policyv1 "k8s.io/api/policy/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Budget is what becomes of a local PodDisruptionBudget.
type Budget struct {
	// Copy is the remote copy, or nil if there is none.
	Copy *policyv1.PodDisruptionBudget
	// Waits means that nobody knows yet how many pods the budget requires: an existing copy
	// stays as it is.
	Waits bool
	// Reason and Message are those of an event on the local PodDisruptionBudget, which
	// holds less than its owner expects. They are empty if it does not.
	Reason, Message string
}

// DisruptionBudget decides on the remote copy of a local PodDisruptionBudget. here is the
// number of pods of this node that it selects and that the local cluster may count as
// healthy.
//
// The copy requires as many pods as the local budget, less those that other nodes have: its
// minAvailable is absolute, because the remote cluster has no controllers from which it could
// compute a percentage. Whatever is not known makes it larger. There is no copy that requires
// nothing, because even that would hold pods that are not healthy.
func (s Site) DisruptionBudget(local *policyv1.PodDisruptionBudget, here int32) Budget {
	if here == 0 {
		return Budget{}
	}
	if keys := s.notCopied(local.Spec.Selector); len(keys) > 0 {
		return Budget{Reason: ReasonBudgetNotMirrored, Message: fmt.Sprintf(
			"The remote cluster may evict the pods on node %s without regard to this budget, because it selects pods by labels "+
				"that remote pods do not get: %s. Select them by other labels, or let the labels go along with pods.labels.allow "+
				"in akd's configuration.", s.Node, strings.Join(keys, ", "))}
	}
	required, known := requiredHere(local, here)
	switch {
	case !known:
		return Budget{Waits: true}
	case required == 0:
		return Budget{}
	}
	var budget Budget
	if required > s.MaxUnevictable {
		required = s.MaxUnevictable
		budget.Reason, budget.Message = ReasonBudgetCut, fmt.Sprintf(
			"On node %s, this budget keeps only %d pods from being evicted: the administrator of the remote cluster allows no more. "+
				"Ask for a larger limit (kubectl actual install --max-unevictable), or use a smaller budget.", s.Node, s.MaxUnevictable)
	}
	minAvailable := intstr.FromInt32(required)
	budget.Copy = &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{
			Name:      local.Name,
			Namespace: s.name,
			Labels:    s.Labels(local.Namespace, local.UID),
		},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable:               &minAvailable,
			Selector:                   local.Spec.Selector.DeepCopy(),
			UnhealthyPodEvictionPolicy: local.Spec.UnhealthyPodEvictionPolicy,
		},
	}
	return budget
}

// requiredHere returns how many pods of this node the local budget requires. known is false
// until the local cluster has counted.
//
// The local cluster counts the pods of all nodes. It may count pods of this node as healthy
// that are not, but never more than here, so that the others are at least the rest.
func requiredHere(local *policyv1.PodDisruptionBudget, here int32) (required int32, known bool) {
	status := &local.Status
	// It cannot count, for example because pods have no controller, and lets nobody evict them.
	// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/controller/disruption/disruption.go
	condition := meta.FindStatusCondition(status.Conditions, policyv1.DisruptionAllowedCondition)
	if condition != nil && condition.Status == metav1.ConditionFalse && condition.Reason == policyv1.SyncFailedReason {
		return here, true
	}
	if status.ObservedGeneration < local.Generation {
		return 0, false
	}
	elsewhere := max(0, status.CurrentHealthy-here)
	return max(0, status.DesiredHealthy-elsewhere), true
}

// notCopied returns the keys of labels that a selector looks at and remote pods do not get.
func (m *Mapper) notCopied(selector *metav1.LabelSelector) []string {
	keys := slices.DeleteFunc(selectorKeys(selector), m.PodLabels.Copies)
	slices.Sort(keys)
	return slices.Compact(keys)
}

// BudgetSelector returns what a PodDisruptionBudget selects: nothing without a selector, or
// with one that the API server would not accept.
func BudgetSelector(budget *policyv1.PodDisruptionBudget) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
	if err != nil {
		return labels.Nothing()
	}
	return selector
}

// TrimBudget removes what akd does not read of a PodDisruptionBudget.
func TrimBudget(budget *policyv1.PodDisruptionBudget) {
	budget.Annotations = nil
	budget.Status.DisruptedPods = nil
}

// SameBudget reports whether the remote PodDisruptionBudget have equals want.
func SameBudget(have, want *policyv1.PodDisruptionBudget) bool {
	return sameLabels(have.Labels, want.Labels) && apiequality.Semantic.DeepEqual(have.Spec, want.Spec)
}
