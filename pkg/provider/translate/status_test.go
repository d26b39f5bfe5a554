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
			local:  []change{withCondition(yes(corev1.PodScheduled, 1))}, remote: []change{withCondition(no(corev1.PodScheduled, 2))},
			kind: corev1.PodScheduled, want: new(yes(corev1.PodScheduled, 1)),
		},
		"ForeignStays": {
			reason: "Others write conditions of local pods, too.",
			local:  []change{withCondition(no("gate", 1))}, remote: []change{withCondition(yes("gate", 2))},
			kind: "gate", want: new(no("gate", 1)),
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
			kind:   corev1.PodReady, want: new(yes(corev1.PodReady, 3)),
		},
		"NotReadyByGate": {
			reason: "A closed gate keeps the pod from its Services.",
			local:  []change{gate},
			remote: []change{withCondition(yes(corev1.ContainersReady, 2)), withCondition(yes(corev1.PodReady, 3))},
			kind:   corev1.PodReady, want: &corev1.PodCondition{
				Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ReadinessGatesNotReady", LastTransitionTime: goldenNow,
				Message: `corresponding condition of pod readiness gate "gate" does not exist.`,
			},
		},
		"ContainersNotReadyAndGate": {
			reason: "Containers come before gates.",
			local:  []change{gate},
			remote: []change{withCondition(corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady", Message: "m"})},
			kind:   corev1.PodReady, want: &corev1.PodCondition{
				Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady", Message: "m", LastTransitionTime: goldenNow,
			},
		},
		"ReadyAgainAfterNodeLost": {
			reason: "The node lifecycle controller says NotReady while our lease lapses; as a kubelet does, we say otherwise when we are back.",
			local:  []change{withCondition(no(corev1.PodReady, 9))},
			remote: []change{withCondition(yes(corev1.ContainersReady, 2)), withCondition(yes(corev1.PodReady, 3))},
			kind:   corev1.PodReady, want: new(yes(corev1.PodReady, 3)),
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
				Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: ReasonRemotePodDeleted, Message: messageRemotePodDeleted, LastTransitionTime: goldenNow,
			},
		},
		"DeletedByOwner": {
			reason: "The owner's own deletion is no disruption.",
			local:  []change{terminating(30)}, remote: []change{terminating(30)}, kind: corev1.DisruptionTarget,
		},
		"TransitionTimeStays": {
			reason: "It changes with the status alone.",
			local:  []change{withCondition(yes(corev1.PodInitialized, 1))}, remote: []change{withCondition(yes(corev1.PodInitialized, 7))},
			kind: corev1.PodInitialized, want: new(yes(corev1.PodInitialized, 1)),
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
	always := func(p *corev1.Pod) { p.Spec.RestartPolicy = corev1.RestartPolicyAlways }
	never := func(p *corev1.Pod) { p.Spec.RestartPolicy = corev1.RestartPolicyNever }
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
		"Stopping":       {reason: "Containers still run: it is not over.", local: always, remote: corev1.PodRunning, now: 2059, want: want{corev1.PodRunning, ""}},
		"Lost":           {reason: "A lost remote node tells nothing, and the pod is to be replaced.", local: always, remote: corev1.PodRunning, now: 2060, want: want{corev1.PodFailed, ReasonRemotePodDeleted}},
		"ExitedWell":     {reason: "A pod that is to run always has not succeeded.", local: always, remote: corev1.PodSucceeded, now: 2001, want: want{corev1.PodFailed, ReasonRemotePodDeleted}},
		"ExitedBadly":    {reason: "The deletion made it fail.", local: never, remote: corev1.PodFailed, now: 2001, want: want{corev1.PodFailed, ReasonRemotePodDeleted}},
		"Done":           {reason: "All containers say that they are done, as with a local kubelet.", local: never, remote: corev1.PodSucceeded, now: 2001, want: want{corev1.PodSucceeded, ""}},
		"DeletedByOwner": {reason: "The owner's own deletion ends as the kubelet says, whenever.", local: terminating(30), remote: corev1.PodRunning, now: 9999, want: want{corev1.PodRunning, ""}},
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
		"Observed":    {reason: "The remote kubelet has seen all there is.", local: []change{second}, want: 2},
		"NotYetSent":  {reason: "What has not been applied cannot have been observed.", local: []change{second, relabelled}, want: 1},
		"NotYetSeen":  {reason: "Applied is not observed.", local: []change{second}, remote: []change{func(p *corev1.Pod) { p.Generation = 5 }}, want: 1},
		"NotReported": {reason: "A kubelet before Kubernetes 1.34 does not say.", local: []change{second}, remote: []change{func(p *corev1.Pod) { p.Status.ObservedGeneration = 0 }}, want: 1},
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

func TestFailedStatus(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Unix(5, 0)}}
	waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}}
	done := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 0}}
	container := func(state corev1.ContainerState) change {
		return func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: state, Ready: true, ContainerID: "c://1"}}
		}
	}
	type want struct {
		exitCode   int32 // -1: not terminated
		disruption bool
		phase      corev1.PodPhase
	}
	cases := map[string]struct {
		reason string
		why    string
		local  []change
		want   want
	}{
		"Running":        {reason: "A container that is gone ended somehow.", why: ReasonRemotePodDeleted, local: []change{started, container(running)}, want: want{137, true, corev1.PodFailed}},
		"Done":           {reason: "A container that has ended keeps its end.", why: ReasonRemotePodDeleted, local: []change{started, container(done)}, want: want{0, true, corev1.PodFailed}},
		"NeverRan":       {reason: "A container that waits for its pod never ran.", why: ReasonRemotePodDeleted, local: []change{started, container(waiting)}, want: want{-1, true, corev1.PodFailed}},
		"MayHaveRun":     {reason: "Once a pod is initialized, a missing container counts as failed.", why: ReasonRemotePodDeleted, local: []change{started, container(waiting), withCondition(yes(corev1.PodInitialized, 1))}, want: want{137, true, corev1.PodFailed}},
		"Invalid":        {reason: "A pod that the remote API server calls invalid was not disrupted.", why: ReasonRemotePodInvalid, local: []change{container(waiting)}, want: want{-1, false, corev1.PodFailed}},
		"AlreadyFinal":   {reason: "Terminal is final.", why: ReasonRemotePodDeleted, local: []change{phase(corev1.PodSucceeded), container(done)}, want: want{0, false, corev1.PodSucceeded}},
		"EndedUnwatched": {reason: "The owner deleted it: no disruption.", why: ReasonRemotePodEnded, local: []change{started, container(running)}, want: want{137, false, corev1.PodFailed}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			local := localPod(tc.local...)
			before := local.DeepCopy()
			status := testMapper().FailedStatus(local, tc.why, "m", goldenNow)
			got := want{-1, condition(status.Conditions, corev1.DisruptionTarget) != nil, status.Phase}
			if ended := status.ContainerStatuses[0].State.Terminated; ended != nil {
				got.exitCode = ended.ExitCode
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s\nFailedStatus(…) (-want +got):\n%s", tc.reason, diff)
			}
			if got.phase == corev1.PodFailed {
				if ready := condition(status.Conditions, corev1.PodReady); ready == nil || ready.Status != corev1.ConditionFalse || status.Reason != tc.why {
					t.Errorf("a failed pod is not ready, for a reason: %+v", status)
				}
			}
			if diff := cmp.Diff(before, local); diff != "" {
				t.Errorf("the local pod was changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestPendingStatus(t *testing.T) {
	mapper, local := testMapper(), localPod(phase(""))
	status := mapper.PendingStatus(local, "RemoteForbidden", "pods is forbidden: exceeded quota", goldenNow)
	want := &corev1.PodCondition{
		Type: contract.ConditionRemoteCreated, Status: corev1.ConditionFalse, Reason: "RemoteForbidden",
		Message: "pods is forbidden: exceeded quota", LastTransitionTime: goldenNow,
	}
	if diff := cmp.Diff(want, condition(status.Conditions, contract.ConditionRemoteCreated)); diff != "" || status.Phase != corev1.PodPending || status.StartTime != nil {
		t.Errorf("PendingStatus = %+v, want phase Pending, not started, and (-want +got):\n%s", status, diff)
	}
	local.Status = *status
	if patch, err := StatusPatch(local, mapper.PendingStatus(local, "RemoteForbidden", "pods is forbidden: exceeded quota", metav1.Now()), nil); patch != nil || err != nil {
		t.Errorf("said twice, it is patched twice: %s, %v", patch, err)
	}
}

func TestStatusPatch(t *testing.T) {
	mapper := testMapper()
	local, remote := localPod(withCondition(yes(corev1.PodScheduled, 1))), remotePod(t, func(p *corev1.Pod) { p.Spec.NodeName = "real" })
	patch, err := StatusPatch(local, mapper.Status(local, remote, goldenNow), mapper.Annotations(local, remote))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"metadata":{"annotations":{"actual.vk/remote-namespace":"n1-93104c7ea350e1e1","actual.vk/remote-node":"real","actual.vk/remote-uid":"remote-uid"},"uid":"local-uid"},` +
		`"status":{"$setElementOrder/conditions":[{"type":"PodScheduled"},{"type":"actual.vk/RemoteScheduled"}],` +
		`"conditions":[{"lastProbeTime":null,"lastTransitionTime":"2030-01-01T00:00:00Z","status":"True","type":"actual.vk/RemoteScheduled"}],"phase":"Running","startTime":"1970-01-01T00:16:40Z"}}`
	if diff := cmp.Diff(want, string(patch)); diff != "" {
		t.Errorf("one patch has the status, the annotations and the UID (-want +got):\n%s", diff)
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

func TestLocalText(t *testing.T) {
	remote := `pods "web" is forbidden: exceeded quota: q, in namespace n1-93104c7ea350e1e1; configmap "actual-vk-kube-root-ca.crt"`
	want := `pods "web" is forbidden: exceeded quota: q, in namespace shop; configmap "kube-root-ca.crt"`
	if got := testMapper().LocalText(localPod(), remote); got != want {
		t.Errorf("LocalText = %q, want %q", got, want)
	}
}

func TestEvent(t *testing.T) {
	mapper, local := testMapper(), localPod(func(p *corev1.Pod) { p.Name = strings.Repeat("a", 230) + "-.b" })
	remote := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: "web.17a", Namespace: "n1-93104c7ea350e1e1", UID: "event-uid", ResourceVersion: "7"},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "n1-93104c7ea350e1e1", Name: "web", UID: "remote-uid", FieldPath: "spec.containers{main}", ResourceVersion: "5"},
		Reason:         "BackOff", Message: "restarting failed container in pod web_n1-93104c7ea350e1e1(remote-uid)", Type: corev1.EventTypeWarning,
		Count: 4, FirstTimestamp: metav1.Unix(1, 0), LastTimestamp: metav1.Unix(9, 0),
		Source: corev1.EventSource{Component: "kubelet", Host: "real-7"}, ReportingController: "kubelet", ReportingInstance: "real-7",
		Related: &corev1.ObjectReference{Kind: "Node", Name: "real-7"},
	}
	before := remote.DeepCopy()
	got := mapper.Event(remote, local)
	want := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: got.Name, Namespace: "shop"},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: local.Name, UID: "local-uid", FieldPath: "spec.containers{main}"},
		Reason:         "BackOff", Message: "restarting failed container in pod web_shop(local-uid)", Type: corev1.EventTypeWarning,
		Count: 4, FirstTimestamp: metav1.Unix(1, 0), LastTimestamp: metav1.Unix(9, 0),
		Source: corev1.EventSource{Component: "kubelet", Host: "n1"}, ReportingController: "kubelet", ReportingInstance: "n1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Event (-want +got):\n%s", diff)
	}
	if len(got.Name) > 253 || mapper.Event(remote, local).Name != got.Name {
		t.Errorf("the name %q is too long, or another one each time", got.Name)
	}
	if diff := cmp.Diff(before, remote); diff != "" {
		t.Errorf("the remote event was changed (-before +after):\n%s", diff)
	}
}
