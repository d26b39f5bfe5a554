package translate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A PodDisruptionBudget did not hold when the administrator of the remote cluster drained a
// node: none of three pods was left for eight seconds.
func TestDisruptionBudget(t *testing.T) {
	const keep = -1 // the copy stays as it is
	counted := func(desired, healthy int32) policyv1.PodDisruptionBudgetStatus {
		return policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 2, DesiredHealthy: desired, CurrentHealthy: healthy}
	}
	failed := func(reason string, status policyv1.PodDisruptionBudgetStatus) policyv1.PodDisruptionBudgetStatus {
		status.Conditions = []metav1.Condition{{Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: reason}}
		return status
	}
	web := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	cases := map[string]struct {
		reason   string
		selector *metav1.LabelSelector
		status   policyv1.PodDisruptionBudgetStatus
		here     int32
		want     int    // minAvailable; 0 for no copy
		event    string // reason
	}{
		"AllHere": {
			reason: "all pods of the budget run on this node", status: counted(2, 3), here: 3, want: 2,
		},
		"SomeElsewhere": {
			reason: "two healthy pods on other nodes leave two for this one", status: counted(4, 5), here: 3, want: 2,
		},
		"EnoughElsewhere": {
			reason: "other nodes have all that is required: even minAvailable 0 would hold pods that are not healthy",
			status: counted(2, 5), here: 3, want: 0,
		},
		"NoneHere": {reason: "there is nothing to hold", status: counted(2, 5), here: 0, want: 0},
		"NoneHealthy": {
			reason: "what is required does not depend on what there is", status: counted(2, 0), here: 3, want: 2,
		},
		"NotCountedYet": {
			reason: "pods here that the local cluster has not counted are not taken for pods elsewhere", status: counted(2, 1), here: 3, want: 2,
		},
		"StaleStatus": {
			reason: "it is that of an earlier spec", here: 3, want: keep,
			status: policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 1, DesiredHealthy: 1, CurrentHealthy: 3},
		},
		"SyncFailed": {
			reason: "locally, nobody can evict any pod: neither can anybody remotely",
			status: failed(policyv1.SyncFailedReason, policyv1.PodDisruptionBudgetStatus{}), here: 3, want: 3,
		},
		"InsufficientPods": {
			reason: "this is no failure", status: failed(policyv1.InsufficientPodsReason, counted(2, 2)), here: 2, want: 2,
		},
		"AboveLimit": {
			reason: "the provider's limit is 10", status: counted(30, 40), here: 40, want: 10, event: ReasonBudgetCut,
		},
		"FailedAboveLimit": {
			reason: "it holds for what is not known, too", status: failed(policyv1.SyncFailedReason, counted(1, 1)), here: 11, want: 10,
			event: ReasonBudgetCut,
		},
		"AtLimit": {reason: "nothing is cut", status: counted(10, 40), here: 40, want: 10},
		"UncopiedKeys": {
			reason: "remote pods would not be selected, and nothing would hold", status: counted(2, 3), here: 3, event: ReasonBudgetNotMirrored,
			selector: &metav1.LabelSelector{
				MatchLabels:      map[string]string{"app": "web", "actual.vk/uid": "x"},
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "denied", Operator: metav1.LabelSelectorOpDoesNotExist}},
			},
		},
		"UncopiedKeysElsewhere": {
			reason: "it concerns no pod here: nobody is told", status: counted(2, 3), here: 0,
			selector: &metav1.LabelSelector{MatchLabels: map[string]string{"denied": "x"}},
		},
		"EveryPod": {
			reason: "an empty selector selects all pods of the namespace", status: counted(2, 3), here: 3, want: 2,
			selector: &metav1.LabelSelector{},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			mapper := testMapper()
			mapper.MaxUnevictable, mapper.PodLabels = 10, NewKeyFilter(nil, []string{"denied"})
			local := &policyv1.PodDisruptionBudget{
				ObjectMeta: metav1.ObjectMeta{
					Name: "web", Namespace: "shop", UID: "u", Generation: 2,
					Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"a": "b"}, Finalizers: []string{"a/b"},
				},
				Spec: policyv1.PodDisruptionBudgetSpec{
					MaxUnavailable:             new(intstr.FromString("30%")),
					Selector:                   web,
					UnhealthyPodEvictionPolicy: new(policyv1.AlwaysAllow),
				},
				Status: tc.status,
			}
			if tc.selector != nil {
				local.Spec.Selector = tc.selector
			}
			before, site := local.DeepCopy(), siteOf(mapper, "shop")
			got := site.DisruptionBudget(local, tc.here)
			if diff := cmp.Diff(before, local); diff != "" {
				t.Errorf("the argument was changed (-before +after):\n%s", diff)
			}
			if got.Waits != (tc.want == keep) || got.Reason != tc.event || (got.Message != "") != (tc.event != "") {
				t.Errorf("%s: waits %t, event %s: %s; want %s", tc.reason, got.Waits, got.Reason, got.Message, tc.event)
			}
			var want *policyv1.PodDisruptionBudget
			if tc.want > 0 {
				want = &policyv1.PodDisruptionBudget{
					ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: site.name, Labels: site.Labels("shop", "u")},
					Spec: policyv1.PodDisruptionBudgetSpec{
						MinAvailable:               new(intstr.FromInt32(int32(tc.want))),
						Selector:                   local.Spec.Selector,
						UnhealthyPodEvictionPolicy: new(policyv1.AlwaysAllow),
					},
				}
			}
			if diff := cmp.Diff(want, got.Copy); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// The owner of a budget learns which labels to change.
func TestDisruptionBudgetNamesKeys(t *testing.T) {
	mapper := testMapper()
	mapper.PodLabels = NewKeyFilter(nil, []string{"denied", "tier"})
	local := &policyv1.PodDisruptionBudget{Spec: policyv1.PodDisruptionBudgetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "a", "app": "b", "denied": "c"}},
	}}
	if got := siteOf(mapper, "shop").DisruptionBudget(local, 1).Message; !strings.Contains(got, "do not get: denied, tier.") {
		t.Errorf("message %q", got)
	}
}

// Without a selector, a budget selects nothing; with an empty one, all pods.
func TestBudgetSelector(t *testing.T) {
	for name, tc := range map[string]struct {
		selector *metav1.LabelSelector
		want     bool
	}{
		"None":  {want: false},
		"Empty": {selector: &metav1.LabelSelector{}, want: true},
		"Bad": {selector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "Like"}},
		}},
		"Other": {selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}},
	} {
		t.Run(name, func(t *testing.T) {
			budget := &policyv1.PodDisruptionBudget{Spec: policyv1.PodDisruptionBudgetSpec{Selector: tc.selector}}
			if got := BudgetSelector(budget).Matches(labels.Set{"app": "web"}); got != tc.want {
				t.Errorf("it selects the pod: %t, want %t", got, tc.want)
			}
		})
	}
}

// What somebody changed in a copy is noticed; what the remote cluster adds is not.
func TestSameBudget(t *testing.T) {
	mapper := testMapper()
	mapper.MaxUnevictable = 10
	local := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u"},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
		Status:     policyv1.PodDisruptionBudgetStatus{DesiredHealthy: 2, CurrentHealthy: 3},
	}
	want := siteOf(mapper, "shop").DisruptionBudget(local, 3).Copy
	for name, tc := range map[string]struct {
		change func(*policyv1.PodDisruptionBudget)
		same   bool
	}{
		"Status":      {change: func(b *policyv1.PodDisruptionBudget) { b.Status.DisruptionsAllowed = 1 }, same: true},
		"Annotation":  {change: func(b *policyv1.PodDisruptionBudget) { b.Annotations = map[string]string{"a": "b"} }, same: true},
		"Number":      {change: func(b *policyv1.PodDisruptionBudget) { b.Spec.MinAvailable = new(intstr.FromInt32(1)) }},
		"Unavailable": {change: func(b *policyv1.PodDisruptionBudget) { b.Spec.MaxUnavailable = new(intstr.FromInt32(1)) }},
		"Selector":    {change: func(b *policyv1.PodDisruptionBudget) { b.Spec.Selector = &metav1.LabelSelector{} }},
		"Unhealthy":   {change: func(b *policyv1.PodDisruptionBudget) { b.Spec.UnhealthyPodEvictionPolicy = new(policyv1.AlwaysAllow) }},
		"Label":       {change: func(b *policyv1.PodDisruptionBudget) { b.Labels["actual.vk/uid"] = "v" }},
	} {
		t.Run(name, func(t *testing.T) {
			have := want.DeepCopy()
			tc.change(have)
			if got := SameBudget(have, want); got != tc.same {
				t.Errorf("same: %t, want %t", got, tc.same)
			}
		})
	}
}
