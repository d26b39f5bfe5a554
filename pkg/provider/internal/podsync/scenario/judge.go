package scenario

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// judge holds akd against what must never happen, and what must be at rest.
type judge struct {
	s *scenario

	mu    sync.Mutex
	wrong []string
	lives map[types.UID]*life // by the UID of the local pod

	claims   map[string]*claimLife                  // by the name of the remote claim
	volumes  map[types.UID]*corev1.PersistentVolume // the last states of the local volumes
	abandons bool                                   // a person deletes volumes whose data is kept

	away    bool                 // akd does not run, or not for long
	deaf    map[*fakeServer]bool // akd may not be able to read what happens there, or to write
	writes  int                  // of akd, in the hour that began at hour
	hour    time.Time
	resting bool                   // all faults have ended long ago
	recent  map[string][]time.Time // requests of the last minute, by what they ask for

	invalid bool // pods may have been invalid

	// restored reports that a cluster went back in time: what it has lost may happen
	// again, and a pod may change its end.
	restored bool
	// unread reports that akd has not read the local pods since: it can only know that one
	// of them was deleted, not that a backup has it.
	unread bool
	// heard is when it has read them again: what it does at that moment, it may have decided
	// before.
	heard time.Time
}

// mostWrites is more than any history needs in an hour.
const mostWrites = 1000

// life is what happened to one local pod.
type life struct {
	local   *corev1.Pod               // its last state
	remotes map[types.UID]*corev1.Pod // the last states of its remote pods
	ran     map[types.UID]bool        // the remote pods that have run
	deleted bool                      // somebody else deleted its remote pod
	// stripped: somebody else took akd's finalizer off its remote pod, and unheard: akd
	// may not have heard how the pod ended then.
	stripped, unheard bool
	again             bool                    // its creation arrived after its end
	exited            map[types.UID]time.Time // when a remote pod reported its exit code
	finished          time.Time               // when the local pod became final
}

func newJudge(s *scenario) *judge {
	j := &judge{
		s: s, lives: map[types.UID]*life{}, recent: map[string][]time.Time{}, deaf: map[*fakeServer]bool{},
		claims: map[string]*claimLife{}, volumes: map[types.UID]*corev1.PersistentVolume{},
	}
	s.started = j.forgets
	s.local.hear = func(action clienttesting.Action) { j.hears("local", action) }
	s.remote.hear = func(action clienttesting.Action) { j.hears("remote", action) }
	s.local.audit = j.localRequest
	s.remote.audit = j.remoteRequest
	s.remote.arrives = j.deletesNamespace
	s.local.storage.changed = j.localChanged
	s.remote.storage.changed = j.remoteChanged
	s.local.storage.volumed = j.localVolumeChanged
	s.remote.storage.claimed = j.remoteClaimChanged
	return j
}

func (j *judge) complain(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(j.wrong, text) {
		j.wrong = append(j.wrong, text)
	}
}

func (j *judge) life(uid types.UID) *life {
	if j.lives[uid] == nil {
		j.lives[uid] = &life{remotes: map[types.UID]*corev1.Pod{}, ran: map[types.UID]bool{}, exited: map[types.UID]time.Time{}}
	}
	return j.lives[uid]
}

// localChanged sees each state of a local pod.
func (j *judge) localChanged(pod *corev1.Pod) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.life(pod.UID)
	if !j.restored && l.local != nil && translate.Finished(l.local) && pod.Status.Phase != l.local.Status.Phase {
		j.complain("local pod %s was %s, and is %s", pod.UID, l.local.Status.Phase, pod.Status.Phase)
	}
	if translate.Finished(pod) && l.finished.IsZero() {
		l.finished = time.Now()
	}
	l.local = pod
}

// remoteChanged sees each state of a remote pod.
func (j *judge) remoteChanged(pod *corev1.Pod) {
	uid := types.UID(pod.Labels[contract.LabelUID])
	if uid == "" {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.life(uid)
	if j.s.remote.isArriving() && pod.DeletionTimestamp != nil {
		l.deleted = true // with its namespace, for which an akd asked that is no more
	}
	if l.remotes[pod.UID] == nil && j.s.remote.isArriving() && (!l.finished.IsZero() || j.isGone(l)) {
		l.again = true
	}
	l.remotes[pod.UID] = pod
	if pod.Status.Phase == corev1.PodRunning && !l.ran[pod.UID] {
		l.ran[pod.UID] = true
		if len(l.ran) > 1 && runsOnce(pod) && !j.restored && !l.unheard && !l.again {
			j.complain("local pod %s ran as %d remote pods", uid, len(l.ran))
		}
		j.runsAlone(pod)
	}
	if _, known := exitCode(pod); known && l.exited[pod.UID].IsZero() {
		l.exited[pod.UID] = time.Now()
	}
}

// isGone reports whether the local pod has been deleted.
func (j *judge) isGone(l *life) bool {
	if l.local == nil {
		return true
	}
	pod, err := j.s.local.podNamed(l.local.Namespace, l.local.Name)
	return err != nil || pod.UID != l.local.UID
}

// sees notes what somebody else does.
func (j *judge) sees(words []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if words[0] == "crash" || words[0] == "stop" {
		j.away = true
	}
	j.restored = j.restored || words[0] == "cluster"
	server, namespace, words := j.s.addressed(words)
	if server == nil || len(words) == 0 {
		return
	}
	switch words[0] {
	case "restore":
		j.restored = true
		j.unread = j.unread || server == j.s.local
	case "reject":
		j.invalid = j.invalid || words[1] == "validation"
	case "lag", "cut", "compact":
		j.mayMiss()
	case "refuse", "fail":
		j.deaf[server] = true
		j.mayMiss()
	case "accept":
		delete(j.deaf, server)
	case "delete", "end", "finalize":
		j.abandons = j.abandons || len(words) > 1 && words[1] == "volume"
		for _, pod := range server.pods() {
			uid := types.UID(pod.Labels[contract.LabelUID])
			if uid == "" || pod.Namespace != namespace || len(words) > 1 && pod.Name != words[1] {
				continue
			}
			life := j.life(uid)
			life.deleted = life.deleted || words[0] != "finalize"
			life.stripped = life.stripped || words[0] == "finalize"
			life.unheard = life.unheard || life.stripped && (j.away || len(j.deaf) > 0 || server.storage.lags())
		}
	}
}

// reads sees that akd can know of a backup.
func (j *judge) reads(list clienttesting.ListActionImpl) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.unread && list.GetResource().Resource == "pods" {
		j.unread, j.heard = false, time.Now()
	}
}

// localRequest sees what akd asks of the local API server.
func (j *judge) localRequest(action clienttesting.Action) {
	j.countWrite(action)
	j.requestsStored(j.s.local, action)
	switch action := action.(type) {
	case clienttesting.ListActionImpl:
		j.reads(action)
	case clienttesting.CreateActionImpl:
		j.eventCreated(action.Object)
	case clienttesting.PatchActionImpl:
		j.rejected(action)
	}
	deletion, deletes := action.(clienttesting.DeleteActionImpl)
	if !deletes || action.GetResource().Resource != "pods" {
		return
	}
	pod, err := j.s.local.podNamed(deletion.Namespace, deletion.Name)
	if err != nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if pod.DeletionTimestamp == nil && !translate.IsMirrorPod(pod) {
		j.complain("akd deletes local pod %s, which nobody has deleted", pod.UID)
	}
	for _, remote := range j.s.remote.pods() {
		if remote.Labels[contract.LabelUID] == string(pod.UID) && remote.Status.Phase == corev1.PodRunning && !j.life(pod.UID).again {
			j.complain("akd releases local pod %s (%s, started %t), whose remote pod %s runs (deleted %t)",
				pod.UID, pod.Status.Phase, pod.Status.StartTime != nil, remote.UID, remote.DeletionTimestamp != nil)
		}
	}
}

// eventCreated expects that what a kubelet has told of a remote pod is told of its local one.
func (j *judge) eventCreated(object runtime.Object) {
	event, is := object.(*corev1.Event)
	if !is || event.Source.Component != "kubelet" {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !strings.HasSuffix(event.Message, " "+string(event.InvolvedObject.UID)) {
		j.complain("akd tells of local pod %s: %s", event.InvolvedObject.UID, event.Message)
	}
}

// rejected expects that a pod for which there is said to be no room does not fit, as far as
// akd can know.
func (j *judge) rejected(action clienttesting.PatchActionImpl) {
	var patch corev1.Pod
	err := json.Unmarshal(action.Patch, &patch)
	noRoom := strings.HasPrefix(patch.Status.Reason, translate.ReasonOutOf) || patch.Status.Reason == translate.ReasonNodePorts
	if err != nil || action.Subresource != "status" || !noRoom || j.s.local.storage.lags() {
		return
	}
	pod, err := j.s.local.podNamed(action.Namespace, action.Name)
	if err != nil || pod.UID != patch.UID {
		return
	}
	found, err := j.s.local.storage.Get(resourceOf("nodes"), "", Node)
	node, is := found.(*corev1.Node)
	if err != nil || !is {
		node = nil // admits whatever finds its ports free
	}
	var others []*corev1.Pod
	used := translate.Amounts{}
	for _, other := range j.s.local.pods() {
		if other.UID != pod.UID && !translate.Finished(&other) && !isElsewhere(&other) {
			others = append(others, &other)
			used.Add(translate.Requests(&other))
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if translate.Admit(pod, node, used, nil, func() []*corev1.Pod { return others }).Reason == "" {
		j.complain("local pod %s is rejected: %s, and fits", pod.UID, patch.Status.Message)
	}
}

// mostRepeats is more than akd asks for one thing in a minute, whatever goes wrong: once
// per second for the end of a namespace, and what a back-off has besides.
const mostRepeats = 90

// forgets begins to count anew: akd is another process.
func (j *judge) forgets() {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.recent)
	j.away = false
	j.mayMiss()
}

// mayMiss notes that akd does not hear of what just happens.
func (j *judge) mayMiss() {
	for _, life := range j.lives {
		life.unheard = life.unheard || life.stripped && life.finished.IsZero()
	}
}

// hears sees what akd asks for, also if it is refused.
func (j *judge) hears(cluster string, action clienttesting.Action) {
	request := fmt.Sprint(cluster, " ", action.GetVerb(), " ", resourceIn(action), " ", action.GetNamespace(), "/", nameIn(action))
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	recent := slices.DeleteFunc(j.recent[request], func(at time.Time) bool { return now.Sub(at) > time.Minute })
	j.recent[request] = append(recent, now)
	if len(recent) >= mostRepeats {
		j.complain("akd repeats %s", request)
	}
	if len(recent) >= 10*mostRepeats { // no time may pass between them
		j.s.local.refuse("all", "all", "too many requests")
		j.s.remote.refuse("all", "all", "too many requests")
	}
}

// rests begins, or ends, the time in which nothing is left to write.
func (j *judge) rests(resting bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.resting = resting
}

// countWrite ends akd if it writes without end.
func (j *judge) countWrite(action clienttesting.Action) {
	resource := action.GetResource().Resource
	if !lasts(action.GetVerb(), resource) {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.resting && !slices.Contains([]string{"serviceaccounts", "podcertificaterequests"}, resource) &&
		action.GetVerb()+" "+resource != "update secrets" && // tokens and certificates are renewed
		!j.isRepeated(action) {
		j.complain("akd writes at rest: %s %s", action.GetVerb(), resource)
	}
	if now := time.Now(); now.Sub(j.hour) > time.Hour && j.writes < mostWrites {
		j.hour, j.writes = now, 0
	}
	if j.writes++; j.writes == mostWrites {
		j.complain("akd writes without end: %s %s", action.GetVerb(), resource)
	}
	if j.writes >= mostWrites {
		j.s.local.refuse("all", "all", "too many writes")
	}
}

// remoteRequest sees what akd asks of the remote API server.
func (j *judge) remoteRequest(action clienttesting.Action) {
	j.countWrite(action)
	j.requestsStored(j.s.remote, action)
	j.deletesNamespace(action)
	if created, creates := action.(clienttesting.CreateActionImpl); creates {
		j.createsPod(created)
	}
	if !slices.Contains([]string{"update", "patch", "delete"}, action.GetVerb()) {
		return
	}
	name := nameIn(action)
	if action.GetNamespace() == contract.SystemNamespace || action.GetResource().Resource == "namespaces" {
		return
	}
	found, err := j.s.remote.storage.Get(action.GetResource(), action.GetNamespace(), name)
	if err != nil {
		return
	}
	meta, err := apimeta.Accessor(found)
	if err != nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if meta.GetLabels()[contract.LabelNodeName] != Node {
		j.complain("akd does %s to %s %s, which is not its own", action.GetVerb(), action.GetResource().Resource, name)
	}
	pod, isPod := found.(*corev1.Pod)
	if !isPod || action.GetVerb() != "delete" {
		return
	}
	there, err := j.s.local.podNamed(localNamespace(pod.Namespace), pod.Name)
	if err != nil || string(there.UID) != pod.Labels[contract.LabelUID] ||
		j.unread || time.Now().Equal(j.heard) {
		return
	}
	if there.DeletionTimestamp == nil && !translate.Finished(there) {
		j.complain("akd deletes the remote pod of %s, which should run", there.UID)
	}
}

// nameIn returns the name of the object that an action is about, or an empty string.
func nameIn(action clienttesting.Action) string {
	switch action := action.(type) {
	case clienttesting.GetActionImpl:
		return action.Name
	case clienttesting.ListActionImpl:
		return action.ListRestrictions.Fields.String() // that of the only one, for what pods refer to
	case clienttesting.DeleteActionImpl:
		return action.Name
	case clienttesting.PatchActionImpl:
		return action.Name
	case clienttesting.CreateActionImpl:
		return cmp.Or(action.Name, nameOf(action.Object))
	case clienttesting.UpdateActionImpl:
		return nameOf(action.Object)
	}
	return ""
}

func nameOf(object runtime.Object) string {
	meta, err := apimeta.Accessor(object)
	if err != nil {
		return ""
	}
	return meta.GetName()
}
