package check

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/ranges"
)

func namespace(name, local string) *corev1.Namespace {
	labels := map[string]string{}
	if local != "" {
		labels = map[string]string{contract.LabelNodeName: "vk", contract.LabelClusterUID: "here", contract.LabelNamespace: local}
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

func TestOrphanedNamespaces(t *testing.T) {
	t.Parallel()
	const pods = "kubectl get pods -A -l actual.vk/node-name=vk --context=there"
	cases := map[string]struct {
		reason     string
		remote     []runtime.Object
		conditions []corev1.NodeCondition
		level      Level
		found, fix string
	}{
		"Well": {reason: "each has its own", remote: []runtime.Object{namespace("vk-shop", "shop")}, level: LevelOK, found: "1"},
		"Orphan": {
			reason: "akd deletes it some time later",
			remote: []runtime.Object{namespace("vk-shop", "shop"), namespace("vk-gone", "gone")},
			level:  LevelWarning,
			found:  "1 of 2 have no local namespace: vk-gone",
			fix:    "wait a few minutes for akd to delete them; if it does not, delete those whose pods nobody needs: " + pods,
		},
		"Unrecorded": {
			reason: "akd would not find it after a restart",
			remote: []runtime.Object{namespace("vk-shop", "shop"), namespace("vk-blog", "blog")},
			level:  LevelWarning,
			found:  "ConfigMap actual-system/vk.namespaces of the remote cluster, lacks: vk-blog",
			fix:    "kubectl rollout restart deployment vk -n actual-system",
		},
		"Others": {
			reason: "namespaces of others are not looked at",
			remote: []runtime.Object{namespace("theirs", "")},
			level:  LevelOK,
			found:  "0",
		},
		"Paused": {
			reason:     "akd keeps too many orphans",
			conditions: []corev1.NodeCondition{condition(contract.ConditionOrphanDeletionPaused, corev1.ConditionTrue, "", "kept")},
			level:      LevelFailed,
			found:      "kept",
			fix:        "delete the remote pods that nobody needs: " + pods,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := subject([]runtime.Object{namespace("shop", ""), namespace("blog", "")}, tc.remote, tc.conditions...)
			s.Node.Record = map[string]string{"vk-shop": "shop", "vk-gone": "gone"}
			expect(t, tc.reason, orphanedNamespaces(t.Context(), s), tc.level, tc.found, tc.fix)
		})
	}
}

func TestPodsStart(t *testing.T) {
	t.Parallel()
	pod := func(name string, conditions ...corev1.PodCondition) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec:       corev1.PodSpec{NodeName: "vk"},
			Status:     corev1.PodStatus{Phase: corev1.PodPending, Conditions: conditions},
		}
	}
	denied := corev1.PodCondition{
		Type: contract.ConditionRemoteCreated, Status: corev1.ConditionFalse, Reason: "QuotaExceeded", Message: "no room",
	}
	s := subject([]runtime.Object{pod("web"), pod("db", denied)}, nil)
	got := podsStart(t.Context(), s)
	expect(t, "one pod cannot start", got, LevelWarning, "1 of 2 cannot: shop/db: QuotaExceeded: no room",
		"kubectl describe pod db -n shop\nkubectl actual where db -n shop --remote-context=there")
	if diff := cmp.Diff([]string{"shop/db: QuotaExceeded: no room"}, got.Details); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	expect(t, "a pod that is starting is fine", podsStart(t.Context(), subject([]runtime.Object{pod("web")}, nil)), LevelOK, "", "")
	pending := podsStart(t.Context(), subject([]runtime.Object{waiting("web", time.Hour, "no room")}, nil))
	expect(t, "pods-scheduled tells of a pod that the remote scheduler cannot place", pending, LevelOK, "", "")
}

// waiting is a pod of node vk for which the remote scheduler has found no node for so long.
func waiting(name string, period time.Duration, message string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       corev1.PodSpec{NodeName: "vk"},
		Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
			Type:               contract.ConditionRemoteScheduled,
			Status:             corev1.ConditionFalse,
			Reason:             corev1.PodReasonUnschedulable,
			Message:            message,
			LastTransitionTime: metav1.NewTime(now().Add(-period)),
		}}},
	}
}

func TestPodsScheduled(t *testing.T) {
	t.Parallel()
	look := func(pod string) string {
		return "make room in the remote cluster, or have the pods request less: kubectl describe nodes --context=there\n" +
			"kubectl describe pod " + pod + " -n shop\nkubectl actual where " + pod + " -n shop --remote-context=there"
	}
	cases := map[string]struct {
		reason     string
		pods       []runtime.Object
		level      Level
		found, fix string
		details    []string
	}{
		"None": {reason: "there are no pods", level: LevelOK, found: "0 of 0"},
		"New": {
			reason: "any pod can wait for a moment",
			pods:   []runtime.Object{waiting("web", 9*time.Second, "no room")},
			level:  LevelOK,
			found:  "1 of 1",
		},
		"Late": {
			reason:  "and not for long",
			pods:    []runtime.Object{waiting("web", 10*time.Second, "no room"), waiting("new", 0, "no room")},
			level:   LevelWarning,
			found:   "1 of 2 pods wait for a node of the remote cluster, for up to 10s: shop/web; the remote scheduler says: no room",
			fix:     look("web"),
			details: []string{"shop/web: Unschedulable: no room"},
		},
		"Many": {
			reason: "the message is the one of most, the pod the first of these",
			pods: []runtime.Object{
				waiting("a", time.Minute, "no room"), waiting("b", time.Hour, "no such zone"),
				waiting("c", 2*time.Minute, "no room"), waiting("d", time.Minute, "a taint"),
			},
			level: LevelWarning,
			found: "4 of 4 pods wait for a node of the remote cluster, for up to 60m: shop/b, shop/c, shop/a and 1 more; " +
				"the remote scheduler says of 2 of them: no room",
			fix: look("c"),
			details: []string{
				"shop/b: Unschedulable: no such zone", "shop/c: Unschedulable: no room",
				"shop/a: Unschedulable: no room", "shop/d: Unschedulable: a taint",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := podsScheduled(t.Context(), subject(tc.pods, nil))
			expect(t, tc.reason, got, tc.level, tc.found, tc.fix)
			if diff := cmp.Diff(tc.details, got.Details); diff != "" {
				t.Errorf("%s: details (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestJudgeRanges(t *testing.T) {
	t.Parallel()
	local := []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")}
	old := ranges.Problem{What: "it has no ServiceCIDR", Fix: "upgrade it"}
	cases := map[string]struct {
		reason    string
		mirrors   bool
		found     ranges.Found
		level     Level
		text, fix string
	}{
		"Possible": {reason: "nothing is in the way", found: ranges.Found{Local: local}, level: LevelOK, text: "10.96.0.0/16 is free"},
		"Impossible": {
			reason: "a node without Services works",
			found:  ranges.Found{Unsupported: old},
			level:  LevelWarning,
			text:   old.What,
			fix:    old.Fix,
		},
		"Broken": {
			reason:  "a node that mirrors does not",
			mirrors: true,
			found:   ranges.Found{Overlap: old},
			level:   LevelFailed,
			text:    old.What,
			fix:     old.Fix,
		},
		"Mirrored": {
			reason:  "as installed",
			mirrors: true,
			found:   ranges.Found{Local: local, Object: "vk", Ready: true},
			level:   LevelOK,
			text:    "by ServiceCIDR vk",
		},
		"Not ready": {
			reason:  "the cluster says so",
			mirrors: true,
			found:   ranges.Found{Local: local, Object: "vk"},
			level:   LevelFailed,
			text:    "not ready",
			fix:     "kubectl describe servicecidr vk --context=there",
		},
		"Not applied": {
			reason:  "somebody deleted it",
			mirrors: true,
			found:   ranges.Found{Local: local, Missing: local},
			level:   LevelFailed,
			text:    "10.96.0.0/16",
			fix:     "kubectl actual install vk --remote-context=there",
		},
		"Other Services": {
			reason:  "an address cannot mean two things",
			mirrors: true,
			found:   ranges.Found{Local: local, Object: "vk", Ready: true, Colliding: []string{"default/theirs"}},
			level:   LevelWarning,
			text:    "default/theirs",
			fix:     "recreate these Services with other addresses in the remote cluster",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := subject(nil, nil)
			s.Node.Values.MirrorServices = tc.mirrors
			expect(t, tc.reason, judgeRanges(s, &tc.found), tc.level, tc.text, tc.fix)
		})
	}
}
