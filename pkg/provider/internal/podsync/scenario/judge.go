package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
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

	away    bool // akd does not run, or not for long
	deaf    bool // akd may not be able to read what happens
	writes  int  // of akd, in the hour that began at hour
	hour    time.Time
	resting bool                   // all faults have ended long ago
	recent  map[string][]time.Time // requests of the last minute, by what they ask for

	// restored reports that a cluster went back in time: what it has lost may happen
	// again, and a pod may change its end.
	restored bool
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
	j := &judge{s: s, lives: map[types.UID]*life{}, recent: map[string][]time.Time{}}
	s.started = j.forgets
	s.local.hear = func(action clienttesting.Action) { j.hears("local", action) }
	s.remote.hear = func(action clienttesting.Action) { j.hears("remote", action) }
	s.local.audit = j.localRequest
	s.remote.audit = j.remoteRequest
	s.local.storage.changed = j.localChanged
	s.remote.storage.changed = j.remoteChanged
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
	server, namespace, words := j.s.addressed(words)
	if server == nil || len(words) == 0 {
		return
	}
	switch words[0] {
	case "restore":
		j.restored = true
	case "lag", "cut", "compact":
		j.mayMiss()
	case "refuse", "fail":
		j.deaf = true
		j.mayMiss()
	case "accept":
		j.deaf = false
	case "delete", "end", "finalize":
		for _, pod := range server.pods() {
			uid := types.UID(pod.Labels[contract.LabelUID])
			if uid == "" || pod.Namespace != namespace || len(words) > 1 && pod.Name != words[1] {
				continue
			}
			life := j.life(uid)
			life.deleted = life.deleted || words[0] != "finalize"
			life.stripped = life.stripped || words[0] == "finalize"
			life.unheard = life.unheard || life.stripped && (j.away || j.deaf || server.storage.lags())
		}
	}
}

// localRequest sees what akd asks of the local API server.
func (j *judge) localRequest(action clienttesting.Action) {
	j.countWrite(action)
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
	if pod.DeletionTimestamp == nil {
		j.complain("akd deletes local pod %s, which nobody has deleted", pod.UID)
	}
	for _, remote := range j.s.remote.pods() {
		if remote.Labels[contract.LabelUID] == string(pod.UID) && remote.Status.Phase == corev1.PodRunning {
			j.complain("akd releases local pod %s (%s, started %t), whose remote pod %s runs (deleted %t)",
				pod.UID, pod.Status.Phase, pod.Status.StartTime != nil, remote.UID, remote.DeletionTimestamp != nil)
		}
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
	if j.resting && resource != "serviceaccounts" && action.GetVerb()+" "+resource != "update secrets" { // tokens are renewed
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
	if err == nil && string(there.UID) == pod.Labels[contract.LabelUID] && there.DeletionTimestamp == nil && !translate.Finished(there) {
		j.complain("akd deletes the remote pod of %s, which should run", there.UID)
	}
}

// nameIn returns the name of the object that an action is about, or an empty string.
func nameIn(action clienttesting.Action) string {
	switch action := action.(type) {
	case clienttesting.GetActionImpl:
		return action.Name
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

// atRest expects that both clusters agree, and that nothing is left to do.
func (j *judge) atRest() {
	j.mu.Lock()
	defer j.mu.Unlock()
	locals := map[types.UID]*corev1.Pod{}
	for _, pod := range j.s.local.pods() {
		locals[pod.UID] = &pod
	}
	remotes := map[types.UID]*corev1.Pod{}
	foreign := map[string]bool{}
	for _, pod := range j.s.remote.pods() {
		uid := types.UID(pod.Labels[contract.LabelUID])
		if uid == "" {
			foreign[localNamespace(pod.Namespace)+"/"+pod.Name] = true
			continue
		}
		remotes[uid] = &pod
		if locals[uid] == nil && !j.s.akd.controller.OrphansKept() {
			j.complain("remote pod %s is left of local pod %s", pod.UID, uid)
		}
	}
	for uid, pod := range locals {
		j.localAtRest(pod, remotes[uid], foreign[pod.Namespace+"/"+pod.Name])
	}
	for uid, life := range j.lives {
		j.trueEnd(uid, life)
	}
	for _, kind := range copies() {
		j.copiesAtRest(resourceOf(kind), locals, remotes)
	}
}

// leavesNothing expects that akd leaves nothing in the remote cluster, and remembers no
// more than at first, once users have nothing any more. Some pods of a cluster that went
// back in time are left to a person.
func (j *judge) leavesNothing(fresh held) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.s.akd.controller.OrphansKept() {
		return
	}
	for _, kind := range append(contents(), "pods", "namespaces") {
		for _, object := range j.s.remote.storage.in(metav1.NamespaceAll, resourceOf(kind)) {
			meta, err := apimeta.Accessor(object)
			if err == nil && meta.GetLabels()[contract.LabelNodeName] == Node && !j.s.remote.hasArrived(meta.GetName()) && !isEmptyRecord(object) {
				j.complain("%s %s/%s is left", kind, meta.GetNamespace(), meta.GetName())
			}
		}
	}
	for _, more := range whatIsHeld(j.s.akd.controller).beyond(fresh) {
		j.complain("akd holds more: %s", more)
	}
}

// isEmptyRecord reports whether an object is a tenant's record of its namespaces, and says
// that there are none.
func isEmptyRecord(object runtime.Object) bool {
	record, is := object.(*corev1.ConfigMap)
	return is && record.Name == contract.RecordName(Node) && len(record.Data) == 0
}

// copiesAtRest expects that the copies of local objects are like them, that none is left
// of one that is gone, and that pods have what they refer to.
func (j *judge) copiesAtRest(resource schema.GroupVersionResource, locals, remotes map[types.UID]*corev1.Pod) {
	for _, object := range j.s.remote.storage.in(metav1.NamespaceAll, resource) {
		copied, err := apimeta.Accessor(object)
		if err != nil || copied.GetLabels()[contract.LabelNodeName] != Node || localNamespace(copied.GetNamespace()) == "" {
			continue
		}
		if contract.IsTokenSecretName(copied.GetName()) {
			if uid := types.UID(copied.GetLabels()[contract.LabelUID]); locals[uid] == nil {
				j.complain("Secret %s is left of local pod %s", copied.GetName(), uid)
			}
			continue
		}
		original, err := j.s.local.storage.Get(resource, localNamespace(copied.GetNamespace()), contract.LocalName(copied.GetName()))
		switch {
		case err != nil:
			j.complain("%s %s is left of a local one", resource.Resource, copied.GetName())
		case contentOf(original) != contentOf(object):
			j.complain("%s %s is %s, the local one %s", resource.Resource, copied.GetName(), contentOf(object), contentOf(original))
		}
	}
	for _, object := range j.s.local.storage.in(metav1.NamespaceAll, resource) {
		j.isCopied(resource, object, remotes)
	}
}

// isCopied expects that there is a copy of a local object that needs one.
func (j *judge) isCopied(resource schema.GroupVersionResource, object runtime.Object, remotes map[types.UID]*corev1.Pod) {
	original, err := apimeta.Accessor(object)
	if err != nil || !j.needsCopy(object, original.GetNamespace(), remotes) {
		return
	}
	for _, name := range []string{original.GetName(), contract.ReservedName(original.GetName())} {
		found, err := j.s.remote.storage.Get(resource, contract.RemoteNamespace(Node, original.GetNamespace()), name)
		if err == nil && contentOf(found) == contentOf(object) {
			return
		}
	}
	j.complain("%s %s has no copy", resource.Resource, original.GetName())
}

// needsCopy reports whether a local object is mirrored: a Service always, its
// EndpointSlice with it, others for pods that refer to them.
func (j *judge) needsCopy(object runtime.Object, namespace string, remotes map[types.UID]*corev1.Pod) bool {
	switch object := object.(type) {
	case *corev1.Service:
		return true
	case *discoveryv1.EndpointSlice:
		_, err := j.s.local.storage.Get(resourceOf("services"), namespace, translate.ServiceOf(object))
		return err == nil
	}
	for _, pod := range remotes {
		if localNamespace(pod.Namespace) == namespace && !translate.Finished(pod) && pod.DeletionTimestamp == nil &&
			len(pod.Spec.Containers[0].EnvFrom) > 0 {
			return true
		}
	}
	return false
}

// contentOf describes what a copy has of its original.
func contentOf(object runtime.Object) string {
	switch object := object.(type) {
	case *corev1.ConfigMap:
		return fmt.Sprint(object.Data)
	case *corev1.Secret:
		return fmt.Sprint(object.Data)
	case *corev1.Service:
		return fmt.Sprint(object.Spec.ClusterIPs, object.Spec.Ports)
	case *discoveryv1.EndpointSlice:
		return fmt.Sprint(object.AddressType, object.Endpoints[0].Addresses, *object.Endpoints[0].Conditions.Ready)
	}
	panic(fmt.Sprintf("no copies of %T", object))
}

func (j *judge) localAtRest(local, remote *corev1.Pod, inTheWay bool) {
	switch {
	case local.DeletionTimestamp != nil && !translate.Finished(local) && local.Status.StartTime != nil:
		j.complain("local pod %s is %s and stays", local.UID, local.Status.Phase)
	case local.DeletionTimestamp != nil && len(local.Finalizers) == 0:
		j.complain("local pod %s cannot be deleted", local.UID)
	case local.DeletionTimestamp != nil || translate.Finished(local):
	case inTheWay && remote == nil:
	case remote == nil:
		j.complain("local pod %s has no remote pod", local.UID)
	case !j.hasTokens(remote):
		j.complain("remote pod %s has no tokens", remote.UID)
	case remote.Status.Phase != local.Status.Phase && !pending(remote):
		j.complain("local pod %s is %s, its remote pod %s", local.UID, local.Status.Phase, remote.Status.Phase)
	case mutable(local) != mutable(remote):
		j.complain("local pod %s has %s, its remote pod %s", local.UID, mutable(local), mutable(remote))
	}
}

// mutable describes what users change in a pod that runs.
func mutable(pod *corev1.Pod) string {
	container := &pod.Spec.Containers[0]
	return fmt.Sprintf("image %s, cpu %s, label %q", container.Image, container.Resources.Requests.Cpu(), pod.Labels["app"])
}

// hasTokens reports whether there is the Secret for the tokens of a remote pod, if it
// mounts any.
func (j *judge) hasTokens(remote *corev1.Pod) bool {
	if len(remote.Spec.Volumes) == 0 {
		return true
	}
	name := contract.TokenSecretName(types.UID(remote.Labels[contract.LabelUID]))
	_, err := j.s.remote.storage.Get(resourceOf("secrets"), remote.Namespace, name)
	return err == nil
}

// trueEnd compares how a pod ended in both clusters.
func (j *judge) trueEnd(uid types.UID, life *life) {
	local := life.local
	if local == nil || life.finished.IsZero() || j.restored {
		return
	}
	if local.Status.Reason == translate.ReasonRemotePodDeleted && !life.deleted {
		j.complain("local pod %s failed because its remote pod was deleted, which it was not", uid)
	}
	if local.Status.Reason == translate.ReasonRemotePodInvalid {
		j.complain("local pod %s failed as invalid, which it is not", uid)
	}
	got, known := exitCode(local)
	for _, remote := range life.remotes {
		want, ended := exitCode(remote)
		if !ended || life.exited[remote.UID].After(life.finished) {
			continue
		}
		if runsOnce(local) && !life.unheard && (!known || got != want) {
			j.complain("local pod %s ended with %s, its remote pod with %s", uid, got, want)
		}
	}
}

// localNamespace returns the local namespace of a remote one.
func localNamespace(remote string) string {
	for _, namespace := range namespaces() {
		if contract.RemoteNamespace(Node, namespace) == remote {
			return namespace
		}
	}
	return ""
}

// runsOnce reports whether the end of a container can be the end of the pod. Of others,
// akd may not know after a restart that they have run and are gone.
func runsOnce(pod *corev1.Pod) bool {
	return pod.Spec.RestartPolicy == corev1.RestartPolicyNever || pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure
}

// exitCode is that of the container, with the reason if nobody knows it.
func exitCode(pod *corev1.Pod) (code string, known bool) {
	for _, container := range pod.Status.ContainerStatuses {
		if ended := container.State.Terminated; ended != nil {
			if ended.Reason == "ContainerStatusUnknown" {
				return ended.Reason, true
			}
			return fmt.Sprint(ended.ExitCode), true
		}
	}
	return "no exit code", false
}
