package translate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// change is a change of a pod in a table.
type change func(*corev1.Pod)

func localPod(changes ...change) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "local-uid", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "main", Image: "web:1"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}
	for _, change := range changes {
		change(pod)
	}
	return pod
}

// remotePod returns what akd makes of localPod, running.
func remotePod(t testing.TB, changes ...change) *corev1.Pod {
	t.Helper()
	pod, err := siteOf(testMapper(), "shop").Pod(localPod(), PodContext{})
	if err != nil {
		t.Fatal(err)
	}
	pod.UID = "remote-uid"
	pod.CreationTimestamp = metav1.Unix(1000, 0)
	pod.Generation = 1
	pod.Status.Phase = corev1.PodRunning
	pod.Status.ObservedGeneration = 1
	for _, change := range changes {
		change(pod)
	}
	return pod
}

func phase(phase corev1.PodPhase) change { return func(p *corev1.Pod) { p.Status.Phase = phase } }

func started(p *corev1.Pod) { when := metav1.Unix(1000, 0); p.Status.StartTime = &when }

func restarts(policy corev1.RestartPolicy) change {
	return func(p *corev1.Pod) { p.Spec.RestartPolicy = policy }
}

func terminating(grace int64) change {
	return func(p *corev1.Pod) {
		when := metav1.Unix(2000, 0)
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &when, &grace
	}
}

func mirror(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }

func heldByFinalizer(p *corev1.Pod) { p.Finalizers = []string{"batch.kubernetes.io/job-tracking"} }

func ofUID(uid types.UID) change {
	return func(p *corev1.Pod) { p.Labels[contract.LabelUID] = string(uid) }
}

func foreign(p *corev1.Pod) { p.Labels = map[string]string{"app": "web"} }

func TestNext(t *testing.T) {
	secs := func(n int64) *int64 { return &n }
	deleted := Step{Action: Fail, Reason: ReasonRemotePodDeleted, Message: messageRemotePodDeleted}
	refused := Step{Action: Refuse, Reason: ReasonRemotePodForeign,
		Message: "Remote pod n1-93104c7ea350e1e1/web exists, but akd on node n1 did not make it: delete or rename it."}
	cases := map[string]struct {
		reason string
		local  *corev1.Pod
		remote *corev1.Pod
		want   Step
	}{
		// live, never started
		"New": {
			reason: "A pod that was bound to us is created remotely.",
			local:  localPod(), want: Step{Action: Create},
		},
		"NewPhaseUnset": {
			reason: "A pod whose status nobody has written yet is a new one.",
			local:  localPod(phase("")), want: Step{Action: Create},
		},
		"Created": {
			reason: "A remote pod that was just created is followed.",
			local:  localPod(), remote: remotePod(t, phase(corev1.PodPending)), want: Step{Action: CopyStatus},
		},
		// live, started
		"RemoteGone": {
			reason: "A remote pod that somebody deleted is not made again: the local controller replaces the local pod.",
			local:  localPod(started, phase(corev1.PodRunning)), want: deleted,
		},
		"RemoteGoneWhilePending": {
			reason: "Started is what was seen remotely, not what ran.",
			local:  localPod(started), want: deleted,
		},
		"Same": {
			reason: "Nothing differs but perhaps the status.",
			local:  localPod(started), remote: remotePod(t), want: Step{Action: CopyStatus},
		},
		"LabelChanged": {
			reason: "Mutable fields follow the local pod.",
			local:  localPod(started, func(p *corev1.Pod) { p.Labels["app"] = "web2" }), remote: remotePod(t), want: Step{Action: Update},
		},
		"ImageChanged": {
			reason: "Mutable fields follow the local pod.",
			local:  localPod(started, func(p *corev1.Pod) { p.Spec.Containers[0].Image = "web:2" }), remote: remotePod(t),
			want: Step{Action: Update},
		},
		"RemoteImageChanged": {
			reason: "What the remote cluster changed is its own matter.",
			local:  localPod(started), remote: remotePod(t, func(p *corev1.Pod) { p.Spec.Containers[0].Image = "mirror/web:1" }),
			want: Step{Action: CopyStatus},
		},
		"RemoteLabelAdded": {
			reason: "What the remote cluster added is its own matter.",
			local:  localPod(started), remote: remotePod(t, func(p *corev1.Pod) { p.Labels["mesh"] = "in" }), want: Step{Action: CopyStatus},
		},
		"EphemeralAdded": {
			reason: "kubectl debug adds a container to a running pod.",
			local: localPod(started, func(p *corev1.Pod) {
				p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}}
			}), remote: remotePod(t), want: Step{Action: Update},
		},
		"ChangedButRemoteFinished": {
			reason: "A finished pod has nothing to change.",
			local:  localPod(started, func(p *corev1.Pod) { p.Labels["app"] = "web2" }), remote: remotePod(t, phase(corev1.PodSucceeded)),
			want: Step{Action: CopyStatus},
		},
		"RemoteFinished": {
			reason: "The end of the remote pod is the end of the local one.",
			local:  localPod(started), remote: remotePod(t, phase(corev1.PodFailed)), want: Step{Action: CopyStatus},
		},
		"RemoteTerminating": {
			reason: "Somebody deletes the remote pod: its last states are copied, and nothing is changed.",
			local:  localPod(started, func(p *corev1.Pod) { p.Labels["app"] = "web2" }), remote: remotePod(t, terminating(30)),
			want: Step{Action: Wait, Again: time.Unix(2060, 0)},
		},
		"RemoteTerminatingFinished": {
			reason: "It has ended; only the API still has it.",
			local:  localPod(started), remote: remotePod(t, terminating(30), phase(corev1.PodFailed)), want: Step{Action: Wait},
		},
		// finished
		"FinishedAndGone": {
			reason: "Terminal is final: nothing is created again.",
			local:  localPod(started, phase(corev1.PodSucceeded)), want: Step{Action: None},
		},
		"FinishedBoth": {
			reason: "The remote pod stays for its logs.",
			local:  localPod(started, phase(corev1.PodFailed)), remote: remotePod(t, phase(corev1.PodFailed)), want: Step{Action: None},
		},
		"FinishedByOthers": {
			reason: "A kubelet stops the containers of a pod that the API calls finished.",
			local:  localPod(started, phase(corev1.PodFailed)), remote: remotePod(t), want: Step{Action: DeleteRemote},
		},
		"FinishedByOthersTerminating": {
			reason: "It is stopped already.",
			local:  localPod(started, phase(corev1.PodFailed)), remote: remotePod(t, terminating(30)), want: Step{Action: None},
		},
		// terminating
		"Deleted": {
			reason: "The local grace period is forwarded.",
			local:  localPod(started, terminating(10)), remote: remotePod(t), want: Step{Action: DeleteRemote, GracePeriodSeconds: secs(10)},
		},
		"DeletedAndFinished": {
			reason: "A finished pod is deleted as any other.",
			local:  localPod(started, phase(corev1.PodSucceeded), terminating(10)), remote: remotePod(t, phase(corev1.PodSucceeded)),
			want: Step{Action: DeleteRemote, GracePeriodSeconds: secs(10)},
		},
		"DeletedUnstarted": {
			reason: "A remote pod that was created meanwhile goes too.",
			local:  localPod(terminating(0)), remote: remotePod(t), want: Step{Action: DeleteRemote, GracePeriodSeconds: secs(1)},
		},
		"DeletedWithoutGrace": {
			reason: "Grace 0 would remove the remote pod from the API while its containers run; a kubelet takes a second.",
			local:  localPod(started, terminating(0), heldByFinalizer), remote: remotePod(t),
			want: Step{Action: DeleteRemote, GracePeriodSeconds: secs(1)},
		},
		"DeletedBoth": {
			reason: "The remote kubelet stops the containers: wait, and copy what it says.",
			local:  localPod(started, terminating(10)), remote: remotePod(t, terminating(10)), want: Step{Action: Wait},
		},
		"GraceShortened": {
			reason: "A second deletion with less grace is forwarded too.",
			local:  localPod(started, terminating(2)), remote: remotePod(t, terminating(30)),
			want: Step{Action: DeleteRemote, GracePeriodSeconds: secs(2)},
		},
		"GraceShortenedToNothing": {
			reason: "It is not forwarded again and again.",
			local:  localPod(started, terminating(0)), remote: remotePod(t, terminating(1)), want: Step{Action: Wait},
		},
		"GraceLonger": {
			reason: "The API only takes a shorter one.",
			local:  localPod(started, terminating(60)), remote: remotePod(t, terminating(30)), want: Step{Action: Wait},
		},
		"DeletedAndRemoteGone": {
			reason: "Nothing runs any more, but whoever watches the pod waits for a terminal phase.",
			local:  localPod(started, terminating(10)),
			want:   Step{Action: Fail, Reason: ReasonRemotePodEnded, Message: messageRemotePodEnded},
		},
		"DeletedAndRemoteGoneFinished": {
			reason: "With a terminal phase the local pod may go.",
			local:  localPod(started, terminating(10), phase(corev1.PodFailed)), want: Step{Action: Release},
		},
		"DeletedUnstartedAndNoRemote": {
			reason: "Nothing ever ran.",
			local:  localPod(terminating(10)), want: Step{Action: Release},
		},
		"DeletedJobPodAndRemoteGone": {
			reason: "Who holds the pod by a finalizer waits for a terminal phase, which a kubelet writes first.",
			local:  localPod(started, phase(corev1.PodRunning), terminating(10), heldByFinalizer),
			want:   Step{Action: Fail, Reason: ReasonRemotePodEnded, Message: "The remote pod ended before akd observed its final state."},
		},
		"DeletedJobPodFinished": {
			reason: "With a terminal phase it is released; its finalizer holds it as long as need be.",
			local:  localPod(started, phase(corev1.PodFailed), terminating(10), heldByFinalizer), want: Step{Action: Release},
		},
		// gone
		"Orphan": {
			reason: "The local pod is gone (--force, or while akd was down): its remote pod goes with its own grace.",
			remote: remotePod(t), want: Step{Action: DeleteRemote},
		},
		"OrphanFinished": {
			reason: "Nobody can read its logs any more.",
			remote: remotePod(t, phase(corev1.PodSucceeded)), want: Step{Action: DeleteRemote},
		},
		"OrphanTerminating": {
			reason: "It is on its way.",
			remote: remotePod(t, terminating(30)), want: Step{Action: None},
		},
		"ForeignAlone": {
			reason: "What akd did not make is never touched.",
			remote: remotePod(t, foreign), want: Step{Action: None},
		},
		"OtherNodesAlone": {
			reason: "Another node's pod is never touched.",
			remote: remotePod(t, func(p *corev1.Pod) { p.Labels[contract.LabelNodeName] = "n2" }), want: Step{Action: None},
		},
		"ForgedAlone": {
			reason: "Our labels in a namespace that is not ours prove nothing.",
			remote: remotePod(t, func(p *corev1.Pod) { p.Namespace = "kube-system" }), want: Step{Action: None},
		},
		"Nothing": {
			reason: "A name that neither cluster knows.",
			want:   Step{Action: None},
		},
		// same name, other UID of ours
		"Recreated": {
			reason: "A StatefulSet makes the name anew: the old remote pod goes first, so that no ordinal is there twice.",
			local:  localPod(), remote: remotePod(t, ofUID("earlier")), want: Step{Action: DeleteRemote},
		},
		"RecreatedTerminating": {
			reason: "The old one is on its way: nothing told the owner of the new one why it did not start.",
			local:  localPod(), remote: remotePod(t, ofUID("earlier"), terminating(30), func(p *corev1.Pod) { p.Spec.NodeName = "real-7" }),
			want: Step{Action: Refuse, Reason: ReasonFormerRemotePod, Message: "Remote pod n1-93104c7ea350e1e1/web of a former pod of the " +
				"same name has not ended on remote node real-7. This pod starts when that one is gone."},
		},
		"RecreatedTerminatingHeld": {
			reason: "Whoever holds it is named.",
			local:  localPod(),
			remote: remotePod(t, ofUID("earlier"), terminating(30), func(p *corev1.Pod) { p.Finalizers = []string{"example.com/a"} }),
			want: Step{Action: Refuse, Reason: ReasonFormerRemotePod, Message: "Remote pod n1-93104c7ea350e1e1/web of a former pod of the " +
				"same name has not ended and has the finalizers example.com/a. This pod starts when that one is gone."},
		},
		"RecreatedTerminatingStarted": {
			reason: "A pod that has started has been told more than that.",
			local:  localPod(started), remote: remotePod(t, ofUID("earlier"), terminating(30)), want: Step{Action: Wait},
		},
		"RecreatedStarted": {
			reason: "The remote pod was replaced by an older one (a restore from a backup): that goes first, too.",
			local:  localPod(started), remote: remotePod(t, ofUID("earlier")), want: Step{Action: DeleteRemote},
		},
		"RecreatedDeleted": {
			reason: "Nothing of the new pod runs: it does not wait for the old one.",
			local:  localPod(terminating(10)), remote: remotePod(t, ofUID("earlier"), terminating(30)), want: Step{Action: Release},
		},
		"RecreatedDeletedRunning": {
			reason: "A finalizer may hold the new pod for long: the old one, which nobody wants any more, does not run as long.",
			local:  localPod(terminating(10), heldByFinalizer), remote: remotePod(t, ofUID("earlier")), want: Step{Action: DeleteRemote},
		},
		// same name, not ours
		"Foreign": {
			reason: "A remote pod that akd did not make is in the way.",
			local:  localPod(), remote: remotePod(t, foreign), want: refused,
		},
		"ForeignStarted": {
			reason: "It is in the way of one that ran, too.",
			local:  localPod(started), remote: remotePod(t, foreign), want: refused,
		},
		"ForeignTerminating": {
			reason: "Its own end does not make it ours.",
			local:  localPod(), remote: remotePod(t, foreign, terminating(30)), want: refused,
		},
		"ForeignDeleted": {
			reason: "Nothing of ours runs: the local pod may go.",
			local:  localPod(terminating(10)), remote: remotePod(t, foreign), want: Step{Action: Release},
		},
		"ForeignFinished": {
			reason: "A finished pod wants nothing.",
			local:  localPod(phase(corev1.PodFailed)), remote: remotePod(t, foreign), want: Step{Action: None},
		},
		"Forged": {
			reason: "The right UID under another node's name is not ours.",
			local:  localPod(), remote: remotePod(t, func(p *corev1.Pod) { p.Labels[contract.LabelNodeName] = "n2" }), want: refused,
		},
		// never ours
		"Mirror": {
			reason: "A mirror pod without a static pod is deleted, as in a kubelet; nothing released it.",
			local:  localPod(mirror), want: Step{Action: Release},
		},
		"MirrorBesideFormer": {
			reason: "A finalizer can hold it for ever, and the remote pod of its predecessor would run as long.",
			local:  localPod(mirror, terminating(0), heldByFinalizer), remote: remotePod(t, ofUID("earlier")), want: Step{Action: DeleteRemote},
		},
		"MirrorBesideForeign": {
			reason: "Somebody else's pod is none of its business.",
			local:  localPod(mirror), remote: remotePod(t, foreign), want: Step{Action: Release},
		},
		"OtherNode": {
			reason: "A pod that is bound elsewhere is another kubelet's.",
			local:  localPod(func(p *corev1.Pod) { p.Spec.NodeName = "n2" }), remote: remotePod(t), want: Step{Action: None},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			local, remote := tc.local.DeepCopy(), tc.remote.DeepCopy()
			if diff := cmp.Diff(tc.want, testMapper().Next(local, remote)); diff != "" {
				t.Errorf("%s\nNext(…) (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.local, local) + cmp.Diff(tc.remote, remote); diff != "" {
				t.Errorf("Next changed an argument (-before +after):\n%s", diff)
			}
		})
	}
}

// Whatever the state, following the steps ends: nobody but akd acts here, and
// each action does what the API servers would do with it.
func TestNextEnds(t *testing.T) {
	mapper := testMapper()
	locals := map[string]*corev1.Pod{
		"none": nil, "new": localPod(), "started": localPod(started), "failed": localPod(started, phase(corev1.PodFailed)),
		"terminating": localPod(started, terminating(30)), "terminating held": localPod(started, terminating(30), heldByFinalizer),
		"mirror": localPod(mirror), "mirror held": localPod(mirror, terminating(0), heldByFinalizer),
		"terminating new": localPod(terminating(0)), "labelled": localPod(started, func(p *corev1.Pod) { p.Labels["a"] = "b" }),
	}
	remotes := map[string]*corev1.Pod{
		"none": nil, "running": remotePod(t), "done": remotePod(t, phase(corev1.PodSucceeded)), "terminating": remotePod(t, terminating(60)),
		"earlier": remotePod(t, ofUID("earlier")), "foreign": remotePod(t, foreign),
		"held": remotePod(t, withLastState), "held done": remotePod(t, withLastState, phase(corev1.PodFailed)),
		"held terminating": remotePod(t, withLastState, terminating(60)), "held forced": remotePod(t, withLastState, terminating(0)),
		"held earlier": remotePod(t, withLastState, ofUID("earlier")), "held foreign": remotePod(t, foreign, withLastState),
	}
	for localName, local := range locals {
		for remoteName, remote := range remotes {
			t.Run(localName+" "+remoteName, func(t *testing.T) {
				w := &world{t: t, mapper: mapper, local: local.DeepCopy(), remote: remote.DeepCopy()}
				for range 12 {
					if !w.step() {
						if w.stuck() {
							t.Errorf("the remote pod stays for ever: %v", w.taken)
						}
						return
					}
				}
				t.Errorf("after 12 steps it still goes on: %v", w.taken)
			})
		}
	}
}

// world plays both API servers and the remote kubelet.
type world struct {
	t             *testing.T
	mapper        *Mapper
	local, remote *corev1.Pod
	taken         []Action
}

// step takes one step, and is false when nothing was left to do.
func (w *world) step() bool {
	step := w.mapper.Next(w.local, w.remote)
	w.taken = append(w.taken, step.Action)
	switch step.Action {
	case Create:
		w.remote, _ = siteOf(w.mapper, w.local.Namespace).Pod(w.local, PodContext{})
		w.remote.UID = "new-remote-uid"
	case Update:
		patches, err := w.mapper.Update(w.local, w.remote, PodContext{})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, patch := range patches {
			w.remote = applied(w.t, w.remote, patch.Data)
		}
	case CopyStatus:
		return w.patch(w.mapper.Status(w.local, w.remote, goldenNow))
	case Wait:
		w.patch(w.mapper.Status(w.local, w.remote, goldenNow))
		w.endRemote() // the kubelet is done with it
	case LetGo:
		w.remote = applied(w.t, w.remote, LastStatePatch(w.remote).Data)
		if w.remote.DeletionTimestamp != nil {
			w.endRemote()
		}
	case Fail:
		return w.patch(w.mapper.FailedStatus(w.local, step.Reason, step.Message, goldenNow))
	case DeleteRemote:
		if Finished(w.remote) {
			w.endRemote()
			break
		}
		terminating(30)(w.remote)
		if step.GracePeriodSeconds != nil {
			terminating(*step.GracePeriodSeconds)(w.remote)
		}
	case Release:
		if len(w.local.Finalizers) > 0 {
			return false // the local API server keeps it for somebody else
		}
		w.local = nil
	case None, Refuse:
		return false
	}
	return true
}

// stuck reports whether akd's finalizer keeps a deleted remote pod.
func (w *world) stuck() bool {
	return w.remote != nil && w.remote.DeletionTimestamp != nil && held(w.remote) && w.mapper.OwnsPod(w.remote, "shop") == nil
}

// endRemote plays a kubelet that releases the remote pod.
func (w *world) endRemote() {
	if !held(w.remote) {
		w.remote = nil
		return
	}
	w.remote.Status.Phase = corev1.PodFailed
	terminating(0)(w.remote)
}

func (w *world) patch(status *corev1.PodStatus) bool {
	patch, err := StatusPatch(w.local, status, w.mapper.Annotations(w.local, w.remote))
	if err != nil {
		w.t.Fatal(err)
	}
	if patch != nil {
		w.local = applied(w.t, w.local, patch)
	}
	return patch != nil
}
