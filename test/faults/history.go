package faults

import (
	"fmt"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// side is one of the two clusters.
type side string

const (
	local  side = "local"
	remote side = "remote"
)

// exitAnnotation is the exit code of a pod's container if nothing ends it early.
const exitAnnotation = "faults.example.org/exit"

// excuses are what a kind of fault may do to pods without a mistake of akd.
type excuses struct {
	// evicts: somebody deletes remote pods in the remote cluster.
	evicts bool
	// kills: containers are killed with their node.
	kills bool
}

// state is what an API server said last of a pod.
type state struct {
	pod *corev1.Pod
	// gone: the pod is no longer in the API.
	gone bool
	// unseen: no watch has reported its deletion, which has the last state, but a later list
	// without it.
	unseen bool
	// ran: one of its containers has been started.
	ran bool
}

// pair is one local pod and all the remote pods that there have been for it.
type pair struct {
	local   state
	remotes map[types.UID]*state
	// excused is what has happened to it that is no mistake of akd.
	excused excuses
	told    map[string]bool
}

// history is what both API servers have said about pods, by the UID of the local pod.
type history struct {
	mu    sync.Mutex
	pairs map[types.UID]*pair
	past  map[types.UID]bool // of pairs that are gone on both sides
	found []violation        // those that only the order of events shows
}

func newHistory() *history { return &history{pairs: map[types.UID]*pair{}, past: map[types.UID]bool{}} }

// saw records what an API server says about a pod; gone with its last state.
func (h *history) saw(from side, pod *corev1.Pod, gone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	uid := localUID(from, pod)
	if h.past[uid] {
		if from == remote && !gone && runs(pod) {
			h.note(doubled, "remote pod %s runs, and local pod %s was gone before", name(pod), uid)
		}
		return
	}
	p := h.pairs[uid]
	if p == nil {
		p = &pair{remotes: map[types.UID]*state{}, told: map[string]bool{}}
		h.pairs[uid] = p
	}
	if from == local {
		p.local = state{pod: pod, gone: gone}
		return
	}
	known := p.remotes[pod.UID]
	if known == nil {
		known = &state{}
		p.remotes[pod.UID] = known
	}
	known.pod, known.gone, known.ran = pod, gone, known.ran || hasRun(pod)
	if !gone && runs(pod) {
		h.notTwice(p, pod)
	}
}

// missed records that a pod is gone whose last state the recorder has missed, because the API
// server had forgotten what happened since.
func (h *history) missed(from side, pod *corev1.Pod) {
	h.saw(from, pod, true)
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.stateOf(from, pod); known != nil {
		known.unseen = true
	}
}

// notTwice finds other remote pods beside one that runs for the same local pod.
func (h *history) notTwice(p *pair, pod *corev1.Pod) {
	for uid, other := range p.remotes {
		key := string(pod.UID + "/" + uid)
		if uid == pod.UID || p.told[key] {
			continue
		}
		switch {
		case !other.gone && runs(other.pod):
			h.note(doubled, "remote pods %s and %s run at the same time for local pod %s", pod.UID, uid, name(pod))
		case other.ran && pod.Spec.RestartPolicy != corev1.RestartPolicyAlways:
			h.note(doubled, "remote pod %s runs after %s for local pod %s, which may run once", pod.UID, uid, name(pod))
		default:
			continue
		}
		p.told[key] = true
	}
}

func (h *history) note(what breach, format string, args ...any) {
	h.found = append(h.found, violation{Breach: what, Text: fmt.Sprintf(format, args...)})
}

// behind returns an error while the history lacks something of the pods that an API
// server lists.
func (h *history) behind(from side, listed []corev1.Pod) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	there := map[types.UID]bool{}
	for i := range listed {
		pod := &listed[i]
		there[pod.UID] = true
		if known := h.stateOf(from, pod); known == nil || version(known.pod) < version(pod) {
			return fmt.Errorf("the recorder has not seen %s pod %s at version %s", from, name(pod), pod.ResourceVersion)
		}
	}
	for _, p := range h.pairs {
		for _, known := range p.states(from) {
			if !known.gone && !there[known.pod.UID] {
				return fmt.Errorf("the recorder has not seen that %s pod %s is gone", from, name(known.pod))
			}
		}
	}
	return nil
}

func (h *history) stateOf(from side, pod *corev1.Pod) *state {
	p := h.pairs[localUID(from, pod)]
	if p == nil {
		return nil
	}
	for _, known := range p.states(from) {
		if known.pod.UID == pod.UID {
			return known
		}
	}
	return nil
}

// states are those of one side's pods.
func (p *pair) states(from side) []*state {
	var all []*state
	if from == local && p.local.pod != nil {
		all = append(all, &p.local)
	}
	if from == remote {
		for _, known := range p.remotes {
			all = append(all, known)
		}
	}
	return all
}

// verdict judges all pods once both clusters agree, and forgets those that are gone.
// It returns how many it has judged.
func (h *history) verdict(excused excuses) (pods int, found []violation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for uid, p := range h.pairs {
		pods++
		p.excuse(excused)
		for _, v := range p.judge() {
			if !p.told[v.Text] {
				p.told[v.Text] = true
				h.found = append(h.found, v)
			}
		}
		if p.isPast() {
			delete(h.pairs, uid)
			h.past[uid] = true
		}
	}
	found, h.found = h.found, nil
	return pods, found
}

// excuse notes what a fault may have done to the pair. It stays true in later ones.
func (p *pair) excuse(excused excuses) {
	p.excused.kills = p.excused.kills || excused.kills
	for _, r := range p.remotes {
		if excused.evicts && (r.gone || r.pod.DeletionTimestamp != nil) {
			p.excused.evicts = true
		}
	}
}

func (p *pair) isPast() bool {
	for _, r := range p.remotes {
		if !r.gone {
			return false
		}
	}
	return p.local.pod == nil || p.local.gone
}

// judge finds what is wrong with a pair about which both clusters agree.
func (p *pair) judge() []violation {
	pod := p.local.pod
	if pod == nil {
		return nil // remote pods of a local pod that was gone before the recorder began
	}
	var found []violation
	say := func(what breach, format string, args ...any) {
		found = append(found, violation{Breach: what, Text: "pod " + name(pod) + ": " + fmt.Sprintf(format, args...)})
	}
	if reason := disruption(pod); reason == "DeletionByTaintManager" || reason == "DeletionByPodGC" {
		say(lost, "the local cluster gave it up: %s", reason)
	}
	asked := p.excused.evicts || pod.DeletionTimestamp != nil
	for _, r := range p.remotes {
		if !asked && (r.gone || r.pod.DeletionTimestamp != nil) {
			say(lost, "remote pod %s was deleted, and nobody had asked for that", r.pod.UID)
		}
		if finished(pod) && !r.gone && r.pod.DeletionTimestamp == nil && !finished(r.pod) {
			say(ended, "it is %s (%s), and remote pod %s is %s", pod.Status.Phase, pod.Status.Reason, r.pod.UID, r.pod.Status.Phase)
		}
		if problem := p.differs(r); problem != "" {
			say(ended, "%s", problem)
		}
	}
	if got, want := exitCode(pod), pod.Annotations[exitAnnotation]; want != "" && !asked && !p.excused.kills && finished(pod) && got != want {
		say(ended, "it ended with %q instead of %q", got, want)
	}
	return found
}

// unknown is the reason of a container's end that nobody has seen.
const unknown = "ContainerStatusUnknown"

// differs compares how a remote pod has ended with what its local pod says.
func (p *pair) differs(r *state) string {
	other := r.pod
	if !hasRun(other) || !finished(p.local.pod) && !p.local.gone {
		return ""
	}
	pod, got, want := p.local.pod, exitCode(p.local.pod), exitCode(other)
	awaited := pod.Spec.RestartPolicy != corev1.RestartPolicyAlways || len(pod.Finalizers) > 0
	switch {
	case got == want || got == "" && !awaited:
		return ""
	case want == "" && r.unseen || got == "" && p.local.unseen:
		return "" // the recorder does not know
	case got == unknown && (!awaited || p.excused.kills):
		return "" // as documented in docs/endings.md
	}
	return fmt.Sprintf("it ended with %q, and remote pod %s with %q", got, other.UID, want)
}

// exitCode is that of the first container, "" while it runs, and unknown if it is a
// guess.
func exitCode(pod *corev1.Pod) string {
	statuses := pod.Status.ContainerStatuses
	if len(statuses) == 0 || statuses[0].State.Terminated == nil {
		return ""
	}
	if statuses[0].State.Terminated.Reason == unknown {
		return unknown
	}
	return strconv.Itoa(int(statuses[0].State.Terminated.ExitCode))
}

func runs(pod *corev1.Pod) bool {
	for i := range pod.Status.ContainerStatuses {
		if pod.Status.ContainerStatuses[i].State.Running != nil {
			return true
		}
	}
	return false
}

func hasRun(pod *corev1.Pod) bool {
	for i := range pod.Status.ContainerStatuses {
		if status := &pod.Status.ContainerStatuses[i]; status.State.Terminated != nil || status.RestartCount > 0 {
			return true
		}
	}
	return runs(pod)
}

func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// disruption is why the cluster itself ended the pod, if it did.
func disruption(pod *corev1.Pod) string {
	for i := range pod.Status.Conditions {
		if condition := &pod.Status.Conditions[i]; condition.Type == corev1.DisruptionTarget && condition.Status == corev1.ConditionTrue {
			return condition.Reason
		}
	}
	return ""
}

func localUID(from side, pod *corev1.Pod) types.UID {
	if from == local {
		return pod.UID
	}
	return types.UID(pod.Labels[contract.LabelUID])
}

func name(object metav1.Object) string { return object.GetNamespace() + "/" + object.GetName() }

// version orders the states of one object. API servers say that it may be compared.
// https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
func version(object metav1.Object) uint64 {
	parsed, err := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return parsed
}
