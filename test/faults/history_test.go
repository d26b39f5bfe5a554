package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// A step is what one API server says: "local 1 running", "remote 1 r1 exited:3 gone".
// The numbers are UIDs of local pods, the letters those of remote ones.
func play(h *history, version int, step string) {
	words := strings.Fields(step)
	from, uid, words := side(words[0]), words[1], words[2:]
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p" + uid, UID: types.UID(uid)}}
	pod.ResourceVersion = fmt.Sprint(version)
	if from == remote {
		pod.UID, pod.Labels, words = types.UID(words[0]), map[string]string{contract.LabelUID: uid}, words[1:]
	}
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	gone := false
	for _, word := range words {
		gone = gone || word == "gone"
		describe(pod, word)
	}
	if slices.Contains(words, "missed") {
		h.missed(from, pod)
		return
	}
	h.saw(from, pod, gone)
}

func describe(pod *corev1.Pod, word string) {
	word, value, _ := strings.Cut(word, ":")
	status := func(s corev1.ContainerState, phase corev1.PodPhase) {
		pod.Status.ContainerStatuses, pod.Status.Phase = []corev1.ContainerStatus{{State: s}}, phase
	}
	switch word {
	case "always":
		pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	case "running":
		status(corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, corev1.PodRunning)
	case "exited":
		ended := &corev1.ContainerStateTerminated{}
		if _, err := fmt.Sscan(value, &ended.ExitCode); err != nil {
			ended.ExitCode, ended.Reason = 137, unknown
		}
		status(corev1.ContainerState{Terminated: ended}, corev1.PodFailed)
	case "fated":
		pod.Annotations = map[string]string{exitAnnotation: value}
	case "deleting":
		pod.DeletionTimestamp = new(metav1.Now())
	case "evicted":
		pod.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByTaintManager",
		}}
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		steps   []string
		excused excuses
		want    []breach
	}{
		"Lives": {"Nothing happens.", []string{"local 1 running", "remote 1 a running"}, excuses{}, nil},
		"Ends": {
			"Both say the same.",
			[]string{"local 1 exited:3 fated:3", "remote 1 a exited:3"}, excuses{}, nil,
		},
		"Deleted": {
			"Its owner wanted that.",
			[]string{"remote 1 a running", "remote 1 a exited:143 deleting gone", "local 1 exited:143 fated:3 deleting gone"}, excuses{}, nil,
		},
		"OtherCode": {
			"akd may not invent an end.",
			[]string{"local 1 exited:137", "remote 1 a exited:3"}, excuses{}, []breach{ended},
		},
		"RunsOn": {
			"The owner believes that it is over.",
			[]string{"local 1 exited:137", "remote 1 a running"}, excuses{}, []breach{ended, ended},
		},
		"Stopped": {
			"Nobody wanted it to stop.",
			[]string{"local 1 exited:143", "remote 1 a exited:143 deleting gone"}, excuses{}, []breach{lost},
		},
		"Drained": {
			"An administrator did it.",
			[]string{"local 1 exited:143 fated:0", "remote 1 a exited:143 deleting gone"}, excuses{evicts: true}, nil,
		},
		"KilledEarly": {
			"Nothing but its node's end excuses another code than its own.",
			[]string{"local 1 exited:137 fated:0", "remote 1 a exited:137"}, excuses{}, []breach{ended},
		},
		"NodeKilled": {
			"Its containers ended with the node.",
			[]string{"local 1 exited:255 fated:0", "remote 1 a exited:255"}, excuses{kills: true}, nil,
		},
		"GivenUp": {
			"The node was away for too long.",
			[]string{"local 1 running evicted deleting", "remote 1 a running"}, excuses{}, []breach{lost},
		},
		"Twice": {
			"It may run once.",
			[]string{"local 1 running", "remote 1 a running", "remote 1 a exited:0 deleting gone", "remote 1 b running"},
			excuses{evicts: true}, []breach{doubled},
		},
		"AgainAlways": {
			"One that always restarts may, one after the other.",
			[]string{"local 1 running always", "remote 1 a running always", "remote 1 a exited:0 deleting gone always", "remote 1 b running always"},
			excuses{evicts: true}, nil,
		},
		"BothAlways": {
			"At the same time it may not.",
			[]string{"local 1 running always", "remote 1 a running always", "remote 1 b running always"},
			excuses{evicts: true}, []breach{doubled},
		},
		"UnknownAlways": {
			"Nobody awaits its exit code.",
			[]string{"remote 1 a running always", "remote 1 a exited:0 always deleting gone", "local 1 exited:? always deleting gone"},
			excuses{}, nil,
		},
		"NoEnd": {
			"It was released without an end.",
			[]string{"remote 1 a running", "remote 1 a exited:0 deleting gone", "local 1 running deleting gone"},
			excuses{}, []breach{ended},
		},
		"EndMissed": {
			"The recorder was away when the remote pod ended, and the API server has forgotten how.",
			[]string{"remote 1 a running", "local 1 exited:0 deleting gone", "remote 1 a running missed"}, excuses{}, nil,
		},
		"LocalEndMissed": {
			"Likewise on the other side.",
			[]string{"local 1 running", "remote 1 a exited:3 deleting gone", "local 1 running deleting missed"}, excuses{}, nil,
		},
		"EndSeen": {
			"An end that the API server has told is one that akd has to know.",
			[]string{"remote 1 a running", "local 1 exited:0 deleting gone", "remote 1 a running deleting gone"}, excuses{}, []breach{ended},
		},
		"UnknownNever": {
			"Somebody awaits it.",
			[]string{"remote 1 a running", "remote 1 a exited:0 deleting gone", "local 1 exited:? deleting gone"},
			excuses{}, []breach{ended},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHistory()
			for i, step := range tc.steps {
				play(h, i, step)
			}
			_, found := h.verdict(tc.excused)
			wrong := len(found) != len(tc.want)
			for i := range min(len(found), len(tc.want)) {
				wrong = wrong || found[i].Breach != tc.want[i]
			}
			if wrong {
				t.Errorf("%s: got %v, want %v", tc.reason, found, tc.want)
			}
			if _, again := h.verdict(excuses{}); len(again) > 0 {
				t.Errorf("told again: %v", again)
			}
		})
	}
}

// A remote pod that comes back from nowhere belongs to nobody.
func TestRunsAfterItsEnd(t *testing.T) {
	t.Parallel()
	h := newHistory()
	play(h, 1, "local 1 exited:0 deleting gone")
	play(h, 2, "remote 1 a exited:0 deleting gone")
	if pods, found := h.verdict(excuses{}); pods != 1 || len(found) > 0 {
		t.Errorf("%d pods, %v", pods, found)
	}
	play(h, 3, "remote 1 b running")
	if _, found := h.verdict(excuses{}); len(found) != 1 || found[0].Breach != doubled {
		t.Errorf("got %v, want one that is doubled", found)
	}
}

// What the recorder has not seen yet must not be judged.
func TestBehind(t *testing.T) {
	t.Parallel()
	h := newHistory()
	play(h, 5, "local 1 running")
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "1", ResourceVersion: "5"}}
	later := pod
	later.ResourceVersion = "10"
	other := corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "2", ResourceVersion: "1"}}
	cases := map[string]struct {
		reason string
		listed []corev1.Pod
		behind bool
	}{
		"Seen":    {"It is as listed.", []corev1.Pod{pod}, false},
		"Changed": {"Versions are numbers.", []corev1.Pod{later}, true},
		"New":     {"It does not know it.", []corev1.Pod{pod, other}, true},
		"Gone":    {"It knows it still.", nil, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := h.behind(local, tc.listed); (err != nil) != tc.behind {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
}
