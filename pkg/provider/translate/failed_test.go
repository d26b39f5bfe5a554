package translate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

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
		"Running": {
			reason: "A container that is gone ended somehow.",
			why:    ReasonRemotePodDeleted,
			local:  []change{started, container(running)},
			want:   want{137, true, corev1.PodFailed},
		},
		"Done": {
			reason: "A container that has ended keeps its end.",
			why:    ReasonRemotePodDeleted,
			local:  []change{started, container(done)},
			want:   want{0, true, corev1.PodFailed},
		},
		"NeverRan": {
			reason: "A container that waits for its pod never ran.",
			why:    ReasonRemotePodDeleted,
			local:  []change{started, container(waiting)},
			want:   want{-1, true, corev1.PodFailed},
		},
		"MayHaveRun": {
			reason: "Once a pod is initialized, a missing container counts as failed.",
			why:    ReasonRemotePodDeleted,
			local:  []change{started, container(waiting), withCondition(yes(corev1.PodInitialized, 1))},
			want:   want{137, true, corev1.PodFailed},
		},
		"Invalid": {
			reason: "A pod that the remote API server calls invalid was not disrupted.",
			why:    ReasonRemotePodInvalid,
			local:  []change{container(waiting)},
			want:   want{-1, false, corev1.PodFailed},
		},
		"AlreadyFinal": {
			reason: "Terminal is final.",
			why:    ReasonRemotePodDeleted,
			local:  []change{phase(corev1.PodSucceeded), container(done)},
			want:   want{0, false, corev1.PodSucceeded},
		},
		"EndedUnwatched": {
			reason: "The owner deleted it: no disruption.",
			why:    ReasonRemotePodEnded,
			local:  []change{started, container(running)},
			want:   want{137, false, corev1.PodFailed},
		},
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
				ready := condition(status.Conditions, corev1.PodReady)
				if ready == nil || ready.Status != corev1.ConditionFalse || status.Reason != tc.why {
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
		Type:               contract.ConditionRemoteCreated,
		Status:             corev1.ConditionFalse,
		Reason:             "RemoteForbidden",
		Message:            "pods is forbidden: exceeded quota",
		LastTransitionTime: goldenNow,
	}
	diff := cmp.Diff(want, condition(status.Conditions, contract.ConditionRemoteCreated))
	if diff != "" || status.Phase != corev1.PodPending || status.StartTime != nil {
		t.Errorf("PendingStatus = %+v, want phase Pending, not started, and (-want +got):\n%s", status, diff)
	}
	local.Status = *status
	again := mapper.PendingStatus(local, "RemoteForbidden", "pods is forbidden: exceeded quota", metav1.Now())
	if patch, err := StatusPatch(local, again, nil); patch != nil || err != nil {
		t.Errorf("said twice, it is patched twice: %s, %v", patch, err)
	}
}
