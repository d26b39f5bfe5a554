package translate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

func withCondition(c corev1.PodCondition) change {
	return func(p *corev1.Pod) { p.Status.Conditions = append(p.Status.Conditions, c) }
}

func yes(kind corev1.PodConditionType, at int64) corev1.PodCondition {
	return corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Unix(at, 0)}
}

func no(kind corev1.PodConditionType, at int64) corev1.PodCondition {
	return corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Unix(at, 0)}
}

// What the remote kubelet and others write is merged condition by condition.
func TestStatusConditions(t *testing.T) {
	gate := func(p *corev1.Pod) { p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "gate"}} }
	cases := map[string]struct {
		reason string
		local  []change
		remote []change
		kind   corev1.PodConditionType
		want   *corev1.PodCondition
	}{
		"PodScheduledStays": {
			reason: "A copied Unschedulable would make the local autoscaler add nodes.",
			local:  []change{withCondition(yes(corev1.PodScheduled, 1))},
			remote: []change{withCondition(no(corev1.PodScheduled, 2))},
			kind:   corev1.PodScheduled,
			want:   new(yes(corev1.PodScheduled, 1)),
		},
		"ForeignStays": {
			reason: "Others write conditions of local pods, too.",
			local:  []change{withCondition(no("gate", 1))},
			remote: []change{withCondition(yes("gate", 2))},
			kind:   "gate",
			want:   new(no("gate", 1)),
		},
		"RemoteForeignIsNotCopied": {
			reason: "Others write conditions of remote pods for their own ends.",
			remote: []change{withCondition(yes("gate", 2))}, kind: "gate",
		},
		"ReadyWithoutGates": {
			reason: "Ready as the remote kubelet says, from when it says.",
			remote: []change{withCondition(yes(corev1.ContainersReady, 2)), withCondition(yes(corev1.PodReady, 3))},
			kind:   corev1.PodReady, want: new(yes(corev1.PodReady, 3)),
		},
		"ReadyWithGate": {
			reason: "A local gate that is open changes nothing.",
			local:  []change{gate, withCondition(yes("gate", 1))},
			remote: []change{withCondition(yes(corev1.ContainersReady, 2)), withCondition(yes(corev1.PodReady, 3))},
			kind:   corev1.PodReady,
			want:   new(yes(corev1.PodReady, 3)),
		},
		"NotReadyByGate": {
			reason: "A closed gate keeps the pod from its Services.",
			local:  []change{gate},
			remote: []change{withCondition(yes(corev1.ContainersReady, 2)), withCondition(yes(corev1.PodReady, 3))},
			kind:   corev1.PodReady,
			want: &corev1.PodCondition{
				Type:               corev1.PodReady,
				Status:             corev1.ConditionFalse,
				Reason:             "ReadinessGatesNotReady",
				LastTransitionTime: goldenNow,
				Message:            `corresponding condition of pod readiness gate "gate" does not exist.`,
			},
		},
		"ContainersNotReadyAndGate": {
			reason: "Containers come before gates.",
			local:  []change{gate},
			remote: []change{
				withCondition(corev1.PodCondition{
					Type:    corev1.ContainersReady,
					Status:  corev1.ConditionFalse,
					Reason:  "ContainersNotReady",
					Message: "m",
				}),
			},
			kind: corev1.PodReady,
			want: &corev1.PodCondition{
				Type:               corev1.PodReady,
				Status:             corev1.ConditionFalse,
				Reason:             "ContainersNotReady",
				Message:            "m",
				LastTransitionTime: goldenNow,
			},
		},
		"ReadyAgainAfterNodeLost": {
			reason: "The node lifecycle controller says NotReady while our lease lapses; as a kubelet does, we say otherwise when we are back.",
			local:  []change{withCondition(no(corev1.PodReady, 9))},
			remote: []change{withCondition(yes(corev1.ContainersReady, 2)), withCondition(yes(corev1.PodReady, 3))},
			kind:   corev1.PodReady,
			want:   new(yes(corev1.PodReady, 3)),
		},
		"NotReadyByLostRemoteNode": {
			reason: "The remote node lifecycle controller says NotReady; ContainersReady is then what the lost kubelet said last.",
			remote: []change{withCondition(yes(corev1.ContainersReady, 2)), withCondition(no(corev1.PodReady, 3))},
			kind:   corev1.PodReady, want: new(no(corev1.PodReady, 3)),
		},
		"DeletedRemotely": {
			reason: "It is told at once, while the remote kubelet still stops the containers.",
			remote: []change{terminating(1 << 40)},
			kind:   corev1.DisruptionTarget, want: &corev1.PodCondition{
				Type:               corev1.DisruptionTarget,
				Status:             corev1.ConditionTrue,
				Reason:             ReasonRemotePodDeleted,
				Message:            messageRemotePodDeleted,
				LastTransitionTime: goldenNow,
			},
		},
		"NotReadyWhenDeletedRemotely": {
			reason: "It stayed in EndpointSlices while the remote kubelet stopped it.",
			local:  []change{withCondition(yes(corev1.PodReady, 3))},
			remote: []change{
				func(p *corev1.Pod) { p.DeletionTimestamp = &goldenNow },
				withCondition(yes(corev1.ContainersReady, 2)), withCondition(yes(corev1.PodReady, 3)),
			},
			kind: corev1.PodReady,
			want: &corev1.PodCondition{
				Type:               corev1.PodReady,
				Status:             corev1.ConditionFalse,
				Reason:             ReasonRemotePodDeleted,
				Message:            messageRemotePodDeleted,
				LastTransitionTime: goldenNow,
			},
		},
		"ReadyWhenDeletedByOwner": {
			reason: "A kubelet leaves a pod ready until its containers stop: the deletion itself tells EndpointSlices.",
			local:  []change{terminating(30), withCondition(yes(corev1.PodReady, 3))},
			remote: []change{terminating(30), withCondition(yes(corev1.ContainersReady, 2)), withCondition(yes(corev1.PodReady, 3))},
			kind:   corev1.PodReady,
			want:   new(yes(corev1.PodReady, 3)),
		},
		"ReadyForgotten": {
			reason: "A condition that the remote pod has no more is not true of the local one.",
			local:  []change{withCondition(yes(corev1.PodReady, 3))},
			kind:   corev1.PodReady,
		},
		"RemoteScheduledForgotten": {
			reason: "The remote pod was made anew, and has no node yet.",
			local:  []change{withCondition(yes(contract.ConditionRemoteScheduled, 3))},
			kind:   contract.ConditionRemoteScheduled,
		},
		"PodScheduledByCreator": {
			reason: "A pod with a nodeName of its creator passes no scheduler; the kubelet says then that it is bound.",
			kind:   corev1.PodScheduled,
			want:   new(yes(corev1.PodScheduled, goldenNow.Unix())),
		},
		"PodScheduledAfterAll": {
			reason: "It has a node now, whatever a scheduler said before.",
			local:  []change{withCondition(no(corev1.PodScheduled, 1))},
			kind:   corev1.PodScheduled,
			want:   new(yes(corev1.PodScheduled, goldenNow.Unix())),
		},
		"DisruptionWithdrawn": {
			reason: "The eviction did not happen, and the remote cluster says so.",
			local:  []change{withCondition(yes(corev1.DisruptionTarget, 1))},
			remote: []change{withCondition(no(corev1.DisruptionTarget, 2))},
			kind:   corev1.DisruptionTarget, want: new(no(corev1.DisruptionTarget, 2)),
		},
		"DisruptionAfterWithdrawal": {
			reason: "What the remote cluster withdrew earlier is not what the local one says now.",
			local:  []change{withCondition(yes(corev1.DisruptionTarget, 3))},
			remote: []change{withCondition(no(corev1.DisruptionTarget, 2))},
			kind:   corev1.DisruptionTarget, want: new(yes(corev1.DisruptionTarget, 3)),
		},
		"DeletedByOwner": {
			reason: "The owner's own deletion is no disruption.",
			local:  []change{terminating(30)}, remote: []change{terminating(30)}, kind: corev1.DisruptionTarget,
		},
		"TransitionTimeStays": {
			reason: "It changes with the status alone.",
			local:  []change{withCondition(yes(corev1.PodInitialized, 1))},
			remote: []change{withCondition(yes(corev1.PodInitialized, 7))},
			kind:   corev1.PodInitialized,
			want:   new(yes(corev1.PodInitialized, 1)),
		},
		"ResizeOver": {
			reason: "A kubelet removes the conditions of a resize that is done.",
			local:  []change{withCondition(yes(corev1.PodResizeInProgress, 1))}, kind: corev1.PodResizeInProgress,
		},
		"DisruptionOfTheRemote": {
			reason: "An eviction there is one here.",
			remote: []change{withCondition(yes(corev1.DisruptionTarget, 2))},
			kind:   corev1.DisruptionTarget, want: new(yes(corev1.DisruptionTarget, 2)),
		},
		"DisruptionOfTheLocal": {
			reason: "What the local cluster said first stays.",
			local:  []change{withCondition(yes(corev1.DisruptionTarget, 1))},
			kind:   corev1.DisruptionTarget, want: new(yes(corev1.DisruptionTarget, 1)),
		},
		"CreatedAfterRefusal": {
			reason: "The refusal is over when the remote pod is there.",
			local:  []change{withCondition(no(contract.ConditionRemoteCreated, 1))},
			kind:   contract.ConditionRemoteCreated, want: new(yes(contract.ConditionRemoteCreated, 1000)),
		},
		"CreatedAtOnce": {
			reason: "A pod that was never refused needs no such condition.",
			kind:   contract.ConditionRemoteCreated,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status := testMapper().Status(localPod(tc.local...), remotePod(t, tc.remote...), goldenNow)
			if diff := cmp.Diff(tc.want, condition(status.Conditions, tc.kind)); diff != "" {
				t.Errorf("%s\ncondition %s (-want +got):\n%s", tc.reason, tc.kind, diff)
			}
		})
	}
}

// A remote pod that somebody deletes ends the local one, at the latest when its
// node should have told long ago.
func TestStatusDeletedRemotely(t *testing.T) {
	always, never := restarts(corev1.RestartPolicyAlways), restarts(corev1.RestartPolicyNever)
	type want struct {
		phase  corev1.PodPhase
		reason string
	}
	cases := map[string]struct {
		reason string
		local  change
		remote corev1.PodPhase
		now    int64 // the grace period ends at 2000
		want   want
	}{
		"Stopping": {
			reason: "Containers still run: it is not over.",
			local:  always,
			remote: corev1.PodRunning,
			now:    2059,
			want:   want{corev1.PodRunning, ""},
		},
		"Lost": {
			reason: "A lost remote node tells nothing, and the pod is to be replaced.",
			local:  always,
			remote: corev1.PodRunning,
			now:    2060,
			want:   want{corev1.PodFailed, ReasonRemotePodDeleted},
		},
		"ExitedWell": {
			reason: "A pod that is to run always has not succeeded.",
			local:  always,
			remote: corev1.PodSucceeded,
			now:    2001,
			want:   want{corev1.PodFailed, ReasonRemotePodDeleted},
		},
		"ExitedBadly": {
			reason: "The deletion made it fail.",
			local:  never,
			remote: corev1.PodFailed,
			now:    2001,
			want:   want{corev1.PodFailed, ReasonRemotePodDeleted},
		},
		"Done": {
			reason: "All containers say that they are done, as with a local kubelet.",
			local:  never,
			remote: corev1.PodSucceeded,
			now:    2001,
			want:   want{corev1.PodSucceeded, ""},
		},
		"DeletedByOwner": {
			reason: "The owner's own deletion ends as the kubelet says, whenever.",
			local:  terminating(30),
			remote: corev1.PodRunning,
			now:    9999,
			want:   want{corev1.PodRunning, ""},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status := testMapper().Status(localPod(started, tc.local), remotePod(t, terminating(30), phase(tc.remote)), metav1.Unix(tc.now, 0))
			if got := (want{status.Phase, status.Reason}); got != tc.want {
				t.Errorf("%s\nStatus has %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}

func TestStatusObservedGeneration(t *testing.T) {
	second := func(p *corev1.Pod) { p.Generation, p.Status.ObservedGeneration = 2, 1 }
	relabelled := func(p *corev1.Pod) { p.Labels["app"] = "web2" }
	cases := map[string]struct {
		reason string
		local  []change
		remote []change
		want   int64
	}{
		"Observed":   {reason: "The remote kubelet has seen all there is.", local: []change{second}, want: 2},
		"NotYetSent": {reason: "What has not been applied cannot have been observed.", local: []change{second, relabelled}, want: 1},
		"NotYetSeen": {
			reason: "Applied is not observed.",
			local:  []change{second},
			remote: []change{func(p *corev1.Pod) { p.Generation = 5 }},
			want:   1,
		},
		"NotReported": {
			reason: "A kubelet before Kubernetes 1.34 does not say.",
			local:  []change{second},
			remote: []change{func(p *corev1.Pod) { p.Status.ObservedGeneration = 0 }},
			want:   1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status := testMapper().Status(localPod(tc.local...), remotePod(t, tc.remote...), goldenNow)
			if status.ObservedGeneration != tc.want {
				t.Errorf("%s\nobservedGeneration = %d, want %d", tc.reason, status.ObservedGeneration, tc.want)
			}
		})
	}
}

func TestStatusPatch(t *testing.T) {
	mapper := testMapper()
	local, remote := localPod(withCondition(yes(corev1.PodScheduled, 1))), remotePod(t, func(p *corev1.Pod) { p.Spec.NodeName = "real" })
	patch, err := StatusPatch(local, mapper.Status(local, remote, goldenNow), mapper.Annotations(local, remote))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"metadata":{"annotations":{"actual.vk/remote-namespace":"n1-93104c7ea350e1e1",` +
		`"actual.vk/remote-node":"real","actual.vk/remote-uid":"remote-uid"},"uid":"local-uid"},` +
		`"status":{"$setElementOrder/conditions":[{"type":"PodScheduled"},{"type":"actual.vk/RemoteScheduled"}],` +
		`"conditions":[{"lastProbeTime":null,"lastTransitionTime":"2030-01-01T00:00:00Z","status":"True",` +
		`"type":"actual.vk/RemoteScheduled"}],"phase":"Running","startTime":"1970-01-01T00:16:40Z"}}`
	if diff := cmp.Diff(want, string(patch)); diff != "" {
		t.Errorf("one patch has the status, the annotations and the UID (-want +got):\n%s", diff)
	}

	// Of a pod that has changed, the API server refuses it.
	read := local.DeepCopy()
	read.ResourceVersion = "7"
	versioned, err := StatusPatch(read, mapper.Status(read, remote, goldenNow), nil)
	if err != nil || !strings.HasPrefix(string(versioned), `{"metadata":{"resourceVersion":"7","uid":"local-uid"},`) {
		t.Errorf("the patch of a pod of version 7 is %s (%v), want both preconditions", versioned, err)
	}

	// Somebody opens a readiness gate between our read and our write.
	meanwhile := localPod(withCondition(yes(corev1.PodScheduled, 1)), withCondition(yes("gate", 5)))
	patched := applied(t, meanwhile, patch)
	if condition(patched.Status.Conditions, "gate") == nil || condition(patched.Status.Conditions, contract.ConditionRemoteScheduled) == nil {
		t.Errorf("a patch of ours removed a condition of others: %+v", patched.Status.Conditions)
	}

	// A condition that the remote kubelet dropped goes, the others stay.
	local.Status.Conditions = append(local.Status.Conditions, yes(corev1.PodResizePending, 1))
	patch, err = StatusPatch(local, mapper.Status(local, remote, goldenNow), nil)
	if err != nil {
		t.Fatal(err)
	}
	meanwhile.Status.Conditions = append(meanwhile.Status.Conditions, yes(corev1.PodResizePending, 1))
	patched = applied(t, meanwhile, patch)
	if condition(patched.Status.Conditions, corev1.PodResizePending) != nil || condition(patched.Status.Conditions, "gate") == nil {
		t.Errorf("want PodResizePending gone and gate kept: %+v", patched.Status.Conditions)
	}
}
