package translate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

func withLastState(p *corev1.Pod) { p.Finalizers = []string{contract.FinalizerLastState} }

func exitCode(code int32) change {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{
			{Name: "main", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}},
		}
	}
}

func running(p *corev1.Pod) {
	p.Status.ContainerStatuses = []corev1.ContainerStatus{
		{Name: "main", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
	}
}

// A Job failed for good because akd was away while its pod ended with 0: the remote
// pod has to be there until its last status is local.
func TestPodKeepsLastState(t *testing.T) {
	ours := []string{contract.FinalizerLastState}
	for _, tc := range []struct {
		reason string
		local  *corev1.Pod
		want   []string
	}{
		{reason: "nobody waits", local: localPod(restarts(corev1.RestartPolicyAlways))},
		{reason: "who holds it reads how it ended", local: localPod(heldByFinalizer, restarts(corev1.RestartPolicyAlways)), want: ours},
		{reason: "it may fail", local: localPod(restarts(corev1.RestartPolicyOnFailure)), want: ours},
		{reason: "it may end", local: localPod(heldByFinalizer, restarts(corev1.RestartPolicyNever)), want: ours},
	} {
		remote, err := siteOf(testMapper(), "shop").Pod(tc.local, PodContext{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, remote.Finalizers); diff != "" {
			t.Errorf("%s: finalizers (-want +got):\n%s", tc.reason, diff)
		}
	}
}

func TestNextHeld(t *testing.T) {
	letGo := Step{Action: LetGo}
	failed := phase(corev1.PodFailed)
	cases := map[string]struct {
		reason string
		local  *corev1.Pod
		remote *corev1.Pod
		want   Step
	}{
		"Running": {
			reason: "Nothing has ended.",
			local:  localPod(started), remote: remotePod(t, withLastState), want: Step{Action: CopyStatus},
		},
		"RemoteFinished": {
			reason: "The last status comes first.",
			local:  localPod(started), remote: remotePod(t, withLastState, failed), want: Step{Action: CopyStatus},
		},
		"FinishedBoth": {
			reason: "The last status is local; the remote pod stays for its logs, but not for akd.",
			local:  localPod(started, failed), remote: remotePod(t, withLastState, failed), want: letGo,
		},
		"RemoteDeletedFinished": {
			reason: "Somebody deleted it while akd was away: the last status comes first.",
			local:  localPod(started), remote: remotePod(t, withLastState, failed, terminating(0)), want: Step{Action: Wait},
		},
		"RemoteForced": {
			reason: "With --force it is gone elsewhere. Its kubelet may still tell how it ended.",
			local:  localPod(started), remote: remotePod(t, withLastState, terminating(0)), want: Step{Action: Wait, Again: time.Unix(2060, 0)},
		},
		"Lost": {
			reason: "The local pod was given up: nobody waits for what the lost kubelet would say.",
			local:  localPod(started, failed), remote: remotePod(t, withLastState, terminating(30)), want: letGo,
		},
		"Deleted": {
			reason: "The deletion comes first.",
			local:  localPod(started, terminating(10)), remote: remotePod(t, withLastState),
			want: Step{Action: DeleteRemote, GracePeriodSeconds: new(int64(10))},
		},
		"DeletedBoth": {
			reason: "It stops.",
			local:  localPod(started, terminating(10)), remote: remotePod(t, withLastState, terminating(10)), want: Step{Action: Wait},
		},
		"DeletedAndEnded": {
			reason: "The last status comes first.",
			local:  localPod(started, terminating(10)), remote: remotePod(t, withLastState, failed, terminating(0)), want: Step{Action: Wait},
		},
		"DeletedAndEndedBoth": {
			reason: "The last status is local.",
			local:  localPod(started, failed, terminating(10)), remote: remotePod(t, withLastState, failed, terminating(0)), want: letGo,
		},
		"DeletedAndForced": {
			reason: "Its node is lost, and the remote administrator gave it up: the local pod does not wait for ever.",
			local:  localPod(started, terminating(10)), remote: remotePod(t, withLastState, terminating(0)),
			want: Step{Action: Wait, Again: time.Unix(2060, 0)},
		},
		"Orphan": {
			reason: "The deletion comes first.",
			remote: remotePod(t, withLastState, failed), want: Step{Action: DeleteRemote},
		},
		"OrphanTerminating": {
			reason: "There is no local pod that could get a status.",
			remote: remotePod(t, withLastState, terminating(30)), want: letGo,
		},
		"ForeignTerminating": {
			reason: "What akd did not make is never touched.",
			remote: remotePod(t, foreign, withLastState, terminating(30)), want: Step{Action: None},
		},
		"OfOthersTerminating": {
			reason: "Finalizers of others are theirs.",
			remote: remotePod(t, heldByFinalizer, terminating(30)), want: Step{Action: None},
		},
		"Recreated": {
			reason: "The pod of that name is another one.",
			local:  localPod(), remote: remotePod(t, withLastState, ofUID("earlier"), terminating(30)), want: letGo,
		},
		"RecreatedDeleted": {
			reason: "The pod of that name is another one, which may be held by a finalizer of its own for long.",
			local:  localPod(terminating(10), heldByFinalizer), remote: remotePod(t, withLastState, ofUID("earlier"), terminating(30)), want: letGo,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, testMapper().Next(tc.local, tc.remote)); diff != "" {
				t.Errorf("%s\nNext(…) (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// The patch takes one finalizer off, whatever others have added meanwhile.
func TestLastStatePatch(t *testing.T) {
	remote := remotePod(t, withLastState)
	patch := LastStatePatch(remote)
	remote.Finalizers = append(remote.Finalizers, "example.org/administrators")
	patched := applied(t, remote, patch.Data)
	if diff := cmp.Diff([]string{"example.org/administrators"}, patched.Finalizers); diff != "" || patch.Subresource != "" {
		t.Errorf("patch %s of %q (-want +got):\n%s", patch.Data, patch.Subresource, diff)
	}
	if patched := applied(t, patched, patch.Data); len(patched.Finalizers) != 1 {
		t.Errorf("the second patch leaves %v", patched.Finalizers)
	}
}

func TestNextEnded(t *testing.T) {
	cases := map[string]struct {
		reason string
		local  *corev1.Pod
		last   *corev1.Pod
		want   Action
	}{
		"Running":     {"The last status of its containers is known.", localPod(started), remotePod(t), Wait},
		"Deleted":     {"A kubelet writes a final status before the pod goes.", localPod(started, terminating(1)), remotePod(t), Wait},
		"JobPod":      {"Who holds it gets the exit code.", localPod(started, terminating(1), heldByFinalizer), remotePod(t), Wait},
		"Unstarted":   {"It ran before akd wrote so: it does not run twice.", localPod(), remotePod(t, started), Wait},
		"NeverRan":    {"Nothing ran: the remote pod is made again.", localPod(), remotePod(t), Create},
		"Finished":    {"Terminal is final.", localPod(started, phase(corev1.PodSucceeded)), remotePod(t), None},
		"Released":    {"It has its last status.", localPod(started, phase(corev1.PodFailed), terminating(1)), remotePod(t), Release},
		"OfAnother":   {"An earlier pod of that name ended so.", localPod(started), remotePod(t, ofUID("earlier")), Fail},
		"OfAStranger": {"Labels of ours in a namespace that is not ours prove nothing.", localPod(started), remotePod(t, foreign), Fail},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := testMapper().NextEnded(tc.local, tc.last); got.Action != tc.want {
				t.Errorf("%s\nNextEnded(…) = %v, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

// The last MODIFIED and the DELETED of a remote pod coalesced in the queue, and the
// exit code was lost: 137 instead of 42.
func TestStatusOfEnded(t *testing.T) {
	always, never := restarts(corev1.RestartPolicyAlways), restarts(corev1.RestartPolicyNever)
	type want struct {
		phase  corev1.PodPhase
		reason string
		code   int32
	}
	cases := map[string]struct {
		reason string
		local  []change
		last   []change
		want   want
	}{
		"Final": {
			reason: "The kubelet said how it ended.",
			local:  []change{always, terminating(30)}, last: []change{phase(corev1.PodFailed), exitCode(42), terminating(0)},
			want: want{corev1.PodFailed, "", 42},
		},
		"Exited": {
			reason: "Its containers have exited; only the phase was not written.",
			local:  []change{never, terminating(30)}, last: []change{exitCode(42), terminating(0)},
			want: want{corev1.PodFailed, "", 42},
		},
		"ExitedWell": {
			reason: "A kubelet calls that a success.",
			local:  []change{never, terminating(30)}, last: []change{exitCode(0), terminating(0)},
			want: want{corev1.PodSucceeded, "", 0},
		},
		"Forced": {
			reason: "Nobody knows how a container ended that was still running.",
			local:  []change{never, terminating(30)}, last: []change{running},
			want: want{corev1.PodFailed, ReasonRemotePodEnded, 137},
		},
		"DeletedRemotely": {
			reason: "The deletion made it fail.",
			local:  []change{never}, last: []change{running},
			want: want{corev1.PodFailed, ReasonRemotePodDeleted, 137},
		},
		"DeletedRemotelyExited": {
			reason: "The deletion made it fail; the exit code says how.",
			local:  []change{always}, last: []change{exitCode(42), terminating(30)},
			want: want{corev1.PodFailed, ReasonRemotePodDeleted, 42},
		},
		"DeletedRemotelyDone": {
			reason: "It was done before.",
			local:  []change{never}, last: []change{phase(corev1.PodSucceeded), exitCode(0)},
			want: want{corev1.PodSucceeded, "", 0},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			last := remotePod(t, append(tc.last, started)...)
			before := last.DeepCopy()
			status := testMapper().Status(localPod(append(tc.local, started, running)...), testMapper().Ended(last, goldenNow), goldenNow)
			got := want{phase: status.Phase, reason: status.Reason}
			if ended := status.ContainerStatuses[0].State.Terminated; ended != nil {
				got.code = ended.ExitCode
			}
			if got != tc.want {
				t.Errorf("%s\nStatus has %v, want %v", tc.reason, got, tc.want)
			}
			if ready := condition(status.Conditions, corev1.PodReady); ready != nil && ready.Status == corev1.ConditionTrue {
				t.Errorf("it is ready: %+v", ready)
			}
			if diff := cmp.Diff(before, last); diff != "" {
				t.Errorf("Ended changed its argument (-before +after):\n%s", diff)
			}
		})
	}
}
