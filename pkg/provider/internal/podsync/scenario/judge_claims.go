package scenario

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// claimLife is what happened to the remote claims of one local claim, which have one name.
type claimLife struct {
	uids      map[types.UID]bool // that they have had
	sizes     map[string]bool    // what they had or, until they were bound, requested
	committed bool               // one of them was given to a volume
	since     time.Time          // when the last one was made
	volumes   map[string]bool    // the names of the local claims that have had its volume
}

func (j *judge) claimLife(name string) *claimLife {
	if j.claims[name] == nil {
		j.claims[name] = &claimLife{uids: map[types.UID]bool{}, sizes: map[string]bool{}, volumes: map[string]bool{}}
	}
	return j.claims[name]
}

// remoteClaimChanged sees each state of a remote claim.
func (j *judge) remoteClaimChanged(claim *corev1.PersistentVolumeClaim) {
	if claim.Labels[contract.LabelNodeName] != Node {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	life := j.claimLife(claim.Name)
	if !life.uids[claim.UID] {
		life.since = time.Now()
	}
	life.uids[claim.UID] = true
	life.committed = life.committed || claim.Annotations[contract.AnnotationVolume] != ""
	size, _ := volume.Disk(claim)
	life.sizes[size.String()] = true
	size = volume.Size(claim)
	life.sizes[size.String()] = true
}

// had reports whether the remote claims of a name had a size, as far as akd can know: it may
// hear of one at the same time as the judge.
func (j *judge) had(name string, size resource.Quantity) bool {
	return j.claimLife(name).sizes[size.String()] || slices.ContainsFunc(j.s.remote.claims(), func(claim *corev1.PersistentVolumeClaim) bool {
		has := volume.Size(claim)
		disk, _ := volume.Disk(claim)
		return claim.Name == name && (has.Cmp(size) == 0 || disk.Cmp(size) == 0)
	})
}

// wasGiven reports whether a remote claim of a name was given to a volume.
func (j *judge) wasGiven(name string) bool {
	return j.claimLife(name).committed || slices.ContainsFunc(j.s.remote.claims(), func(claim *corev1.PersistentVolumeClaim) bool {
		return claim.Name == name && claim.Annotations[contract.AnnotationVolume] != ""
	})
}

// wasThere reports whether a remote claim ever had a name and a UID.
func (j *judge) wasThere(name string, uid types.UID) bool {
	return j.claimLife(name).uids[uid] || slices.ContainsFunc(j.s.remote.claims(), func(claim *corev1.PersistentVolumeClaim) bool {
		return claim.Name == name && claim.UID == uid
	})
}

// localVolumeChanged sees each state of a local volume, also the last one. Nobody but akd
// takes its finalizer off.
func (j *judge) localVolumeChanged(now *corev1.PersistentVolume) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := j.volumes[now.UID]
	j.volumes[now.UID] = now
	if ref := now.Spec.ClaimRef; ref != nil && now.Status.Phase == corev1.VolumeBound {
		j.claimLife(now.Name).volumes[ref.Namespace+"/"+ref.Name] = true
	}
	if before != nil && volume.IsHeld(before) && !volume.IsHeld(now) {
		j.givenUp(now, "lets local volume %s go")
	}
}

// givenUp expects that the remote claim of a volume with the policy Delete is gone, and that
// a person has deleted one with another.
func (j *judge) givenUp(of *corev1.PersistentVolume, what string) {
	node, source, _ := volume.Of(of)
	if node == elsewhere {
		return // by its own akd
	}
	what = fmt.Sprintf("akd "+what, of.Name)
	if source.ClusterUID != j.s.next.cluster && of.DeletionTimestamp == nil {
		j.complain("%s, whose data is in another remote cluster", what)
	}
	deletes := of.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete
	switch remote := j.remoteOf(of); {
	case deletes && of.Status.Phase != corev1.VolumeReleased && of.Status.Phase != corev1.VolumeFailed && of.DeletionTimestamp == nil:
		j.complain("%s, which is %s", what, of.Status.Phase)
	case deletes && remote != nil && of.Status.Phase == corev1.VolumeReleased:
		j.complain("%s, whose remote claim %s is there", what, remote.UID)
	case !deletes && of.DeletionTimestamp == nil:
		j.complain("%s, which is to be retained", what)
	}
}

// remoteOf returns the remote claim that has the data of a local volume, or nil.
func (j *judge) remoteOf(of *corev1.PersistentVolume) *corev1.PersistentVolumeClaim {
	_, source, _ := volume.Of(of)
	claim := j.s.remote.claimNamed(source.Namespace, source.Claim)
	if claim == nil || claim.UID != volume.Adopted(of) {
		return nil
	}
	return claim
}

// requestsStored sees what akd asks for about claims and volumes, of either API server.
func (j *judge) requestsStored(server *fakeServer, action clienttesting.Action) {
	kind, verb := action.GetResource().Resource, action.GetVerb()
	if !isStored(kind) || !isWrite(verb) {
		return
	}
	demanded, err := demandedBy(action)
	j.mu.Lock()
	defer j.mu.Unlock()
	if verb != "create" && (err != nil || demanded.UID == "") {
		j.complain("akd does %s to %s %s %s without a UID", verb, server.name, kind, nameIn(action))
	}
	switch action := action.(type) {
	case clienttesting.CreateActionImpl:
		switch made := action.Object.(type) {
		case *corev1.PersistentVolumeClaim:
			j.createsRemoteClaim(made)
		case *corev1.PersistentVolume:
			j.createsVolume(made)
		}
	case clienttesting.DeleteActionImpl:
		if kind == volumes {
			if of := j.s.local.volumeNamed(action.Name); of != nil {
				j.givenUp(of, "deletes local volume %s")
				if of.Labels[contract.LabelNodeName] != Node {
					j.complain("akd deletes volume %s, which is not of node %s", of.Name, Node)
				}
			}
		} else if claim := server.claimNamed(action.Namespace, action.Name); claim != nil {
			j.deletesClaim(server, claim)
		}
	case clienttesting.PatchActionImpl:
		switch {
		case kind == volumes:
			j.patchesVolume(action)
		case server == j.s.local:
			j.patchesLocalClaim(action)
		}
	}
}

// deletesClaim expects that a remote claim was never given to a volume, and is not needed, or
// that its volume is released and to be deleted.
func (j *judge) deletesClaim(server *fakeServer, claim *corev1.PersistentVolumeClaim) {
	if server == j.s.local {
		j.complain("akd deletes local claim %s", claim.UID)
		return
	}
	of := j.s.local.volumeNamed(claim.Name)
	switch {
	case of != nil:
		if of.Status.Phase != corev1.VolumeReleased || of.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete ||
			volume.Adopted(of) != claim.UID {
			j.complain("akd deletes remote claim %s of volume %s, which is %s and to %s, and has remote claim %s",
				claim.UID, of.Name, of.Status.Phase, of.Spec.PersistentVolumeReclaimPolicy, volume.Adopted(of))
		}
	case claim.Annotations[contract.AnnotationVolume] != "":
		j.complain("akd deletes remote claim %s, which was given to volume %s", claim.UID, claim.Annotations[contract.AnnotationVolume])
	case j.localClaim(contract.ClaimUID(claim.Name)) != nil && j.localClaim(contract.ClaimUID(claim.Name)).Spec.VolumeName == "":
		j.complain("akd deletes remote claim %s, for which its local claim waits", claim.UID)
	}
}

// localClaim returns the local claim of a UID, or nil.
func (j *judge) localClaim(uid types.UID) *corev1.PersistentVolumeClaim {
	for _, claim := range j.s.local.claims() {
		if claim.UID == uid {
			return claim
		}
	}
	return nil
}

// createsRemoteClaim expects that a volume does not get a second, empty claim.
func (j *judge) createsRemoteClaim(claim *corev1.PersistentVolumeClaim) {
	if j.s.remote.claimNamed(claim.Namespace, claim.Name) != nil {
		return // and is told so
	}
	of := j.s.local.volumeNamed(claim.Name)
	if of != nil {
		j.complain("akd creates another remote claim for volume %s, which has %s", of.Name, volume.Adopted(of))
	}
	if j.claimLife(claim.Name).committed && !j.restored {
		j.complain("akd creates remote claim %s again, which was given to a volume", claim.Name)
	}
	local := j.localClaim(contract.ClaimUID(claim.Name))
	if local == nil {
		return
	}
	if !j.s.local.isHere(local) {
		j.complain("akd creates remote claim %s, whose local claim is not to be on node %s", claim.Name, Node)
	}
	if has := local.Spec.VolumeName; has != "" && has != claim.Name && !j.s.local.storage.lags() {
		j.complain("akd creates remote claim %s, whose local claim has volume %s", claim.Name, has)
	}
	j.beginsWith(claim, local)
}

// noticed is longer than akd needs to hear of a change while nothing is in the way.
const noticed = 2 * time.Minute

// beginsWith expects that a new remote claim begins with the data that the local one is to
// begin with, and no other.
func (j *judge) beginsWith(claim, local *corev1.PersistentVolumeClaim) {
	from, source := translate.CloneOf(local), claim.Spec.DataSource
	if from == "" && source == nil {
		return
	}
	if from == "" || source == nil {
		j.complain("akd creates remote claim %s with the data of %v, the local one is to have that of %q", claim.Name, source, from)
		return
	}
	if !j.claimLife(source.Name).volumes[local.Namespace+"/"+from] || j.isAnothers(source.Name) != nil {
		j.complain("akd creates remote claim %s with the data of %s, which local claim %s does not have", claim.Name, source.Name, from)
	}
}

// isAnothers returns the local volume of a remote claim that is not the one that the volume
// leads to, as akd has had the time to notice, or nil.
func (j *judge) isAnothers(name string) *corev1.PersistentVolume {
	of := j.s.local.volumeNamed(name)
	if of != nil && time.Since(j.claimLife(name).since) > noticed && j.remoteOf(of) == nil && len(j.deaf) == 0 && !j.s.remote.storage.lags() {
		return of
	}
	return nil
}

// isRepeated reports whether a request is one that the remote cluster refuses again and again,
// and that akd repeats because that can change: for a name that somebody else has, or a size
// that the class does not allow.
func (j *judge) isRepeated(action clienttesting.Action) bool {
	if action.GetResource().Resource != claims {
		return false
	}
	claim := j.s.remote.claimNamed(action.GetNamespace(), nameIn(action))
	switch action.(type) {
	case clienttesting.CreateActionImpl:
		return claim != nil
	case clienttesting.PatchActionImpl:
		return claim != nil && ptr.Deref(claim.Spec.StorageClassName, "") == classLate
	}
	return false
}

// createsVolume expects that a new volume leads to a remote claim that is there, or was, and
// is as large.
func (j *judge) createsVolume(made *corev1.PersistentVolume) {
	node, source, ours := volume.Of(made)
	capacity := made.Spec.Capacity[corev1.ResourceStorage]
	switch ref := made.Spec.ClaimRef; {
	case source.ClusterUID != j.s.next.cluster:
		j.complain("akd creates volume %s of remote cluster %s", made.Name, source.ClusterUID)
	case !ours || node != Node || source.Claim != made.Name || ref == nil || contract.VolumeName(ref.UID) != made.Name ||
		source.Namespace != contract.RemoteNamespace(Node, ref.Namespace):
		j.complain("akd creates volume %s of %v", made.Name, source)
	case !j.wasThere(made.Name, source.UID):
		j.complain("akd creates volume %s with remote claim %s, which never was", made.Name, source.UID)
	case !j.had(made.Name, capacity):
		j.complain("akd creates volume %s with %s, which its remote claim never had", made.Name, capacity.String())
	}
}

// patchesVolume expects that a volume becomes as large as its remote claim is, and no smaller.
func (j *judge) patchesVolume(action clienttesting.PatchActionImpl) {
	var patch corev1.PersistentVolume
	of := j.s.local.volumeNamed(action.Name)
	if err := json.Unmarshal(action.Patch, &patch); err != nil || of == nil {
		return
	}
	if of.Labels[contract.LabelNodeName] != Node {
		j.complain("akd patches volume %s, which is not of node %s", of.Name, Node)
	}
	size, sized := patch.Spec.Capacity[corev1.ResourceStorage]
	switch has := of.Spec.Capacity[corev1.ResourceStorage]; {
	case !sized:
	case !j.had(of.Name, size):
		j.complain("akd gives volume %s %s, which its remote claim never had", of.Name, size.String())
	case size.Cmp(has) < 0 && !j.restored && volume.Adopted(of) == volumeUID(of):
		j.complain("akd shrinks volume %s from %s to %s", of.Name, has.String(), size.String())
	}
}

// volumeUID is the UID of the remote claim with which a volume began.
func volumeUID(of *corev1.PersistentVolume) types.UID {
	_, source, _ := volume.Of(of)
	return source.UID
}

// patchesLocalClaim expects that akd leaves to Kubernetes what is Kubernetes', and says of a
// remote claim only that it is gone if it is.
func (j *judge) patchesLocalClaim(action clienttesting.PatchActionImpl) {
	var patch corev1.PersistentVolumeClaim
	if err := json.Unmarshal(action.Patch, &patch); err != nil {
		return
	}
	claim := j.s.local.claimNamed(action.Namespace, action.Name)
	if action.Subresource != "status" || patch.Status.Phase != "" || patch.Spec.VolumeName != "" || len(patch.Status.AccessModes) > 0 {
		j.complain("akd does %s to local claim %s", action.Patch, action.Name)
	}
	if claim == nil {
		return
	}
	of := j.s.local.volumeNamed(claim.Spec.VolumeName)
	if size, sized := patch.Status.Capacity[corev1.ResourceStorage]; sized && !j.had(claim.Spec.VolumeName, size) {
		j.complain("akd gives local claim %s %s, which its remote claim never had", claim.UID, size.String())
	}
	for _, condition := range patch.Status.Conditions {
		lost := condition.Type == contract.ConditionRemoteBound && condition.Reason == translate.ReasonRemoteClaimLost
		if lost && of != nil && j.remoteOf(of) != nil {
			j.complain("akd says that the remote claim of volume %s is lost, which is there", of.Name)
		}
	}
}

// createsPod expects that a remote pod uses claims that were given to the volumes of its local
// pod, and no others.
func (j *judge) createsPod(action clienttesting.CreateActionImpl) {
	pod, is := action.Object.(*corev1.Pod)
	if !is {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	local, err := j.s.local.podNamed(localNamespace(pod.Namespace), pod.Name)
	if err != nil || string(local.UID) != pod.Labels[contract.LabelUID] {
		local = nil
	}
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Ephemeral != nil {
			j.complain("akd creates remote pod %s with an ephemeral volume", pod.Name)
		}
	}
	for i, name := range claimsOf(pod) {
		if !j.wasGiven(name) {
			j.complain("akd creates remote pod %s with claim %s, which was given to no volume", pod.Name, name)
		}
		if of := j.isAnothers(name); of != nil {
			j.complain("akd creates remote pod %s with claim %s, which is not that of volume %s", pod.Name, name, of.UID)
		}
		if local == nil || i >= len(claimsOf(local)) {
			continue
		}
		if claim := j.s.local.claimNamed(local.Namespace, claimsOf(local)[i]); claim != nil && claim.Spec.VolumeName != name {
			j.complain("akd creates remote pod %s with claim %s, and the local one has volume %s", pod.Name, name, claim.Spec.VolumeName)
		}
	}
}

// runsAlone expects that no other pod runs with a claim that only one may use.
func (j *judge) runsAlone(pod *corev1.Pod) {
	for _, name := range claimsOf(pod) {
		claim := j.s.remote.claimNamed(pod.Namespace, name)
		if claim == nil || !exclusive(claim) {
			continue
		}
		for _, other := range j.s.remote.pods() {
			runs := other.UID != pod.UID && other.Namespace == pod.Namespace && other.Status.Phase == corev1.PodRunning
			if runs && slices.Contains(claimsOf(&other), name) {
				j.complain("remote pods %s and %s run with claim %s", pod.UID, other.UID, name)
			}
		}
	}
}

// deletesNamespace expects that no claim is in a namespace that akd deletes.
func (j *judge) deletesNamespace(action clienttesting.Action) {
	deletion, deletes := action.(clienttesting.DeleteActionImpl)
	if !deletes || deletion.GetResource().Resource != "namespaces" {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, claim := range j.s.remote.claims() {
		if claim.Namespace == deletion.Name {
			j.complain("akd deletes namespace %s with claim %s", deletion.Name, claim.UID)
		}
	}
}

// claimsAtRest expects that all claims and volumes are bound, kept, or explained.
func (j *judge) claimsAtRest() {
	for _, claim := range j.s.local.claims() {
		if class := j.s.local.classNamed(claim.Spec.StorageClassName); class == nil || class.Provisioner != contract.StorageDriver {
			continue
		}
		of := j.s.local.volumeNamed(claim.Spec.VolumeName)
		switch {
		case claim.DeletionTimestamp != nil && !j.s.local.isUsed(claim):
			j.complain("local claim %s cannot be deleted", claim.UID)
		case claim.Annotations[provisioner] == "":
		case claim.Spec.VolumeName == "" && !j.mayStayUnbound(claim):
			j.complain("local claim %s is not bound", claim.UID)
		case of != nil && of.Labels[contract.LabelNodeName] == elsewhere:
		case of != nil && isFor(of, claim) && claim.Status.Phase == corev1.ClaimBound:
			j.boundAtRest(claim, of)
		}
	}
	for _, of := range j.s.local.volumes() {
		if _, source, ours := volume.Of(of); ours && of.Status.Phase == corev1.VolumeReleased && source.ClusterUID == j.s.next.cluster &&
			(of.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete || of.DeletionTimestamp != nil) {
			j.complain("local volume %s is released and stays", of.Name)
		}
	}
	for _, claim := range j.s.remote.claims() {
		j.remoteClaimAtRest(claim)
	}
}

// mayStayUnbound reports whether akd cannot provide a claim.
func (j *judge) mayStayUnbound(claim *corev1.PersistentVolumeClaim) bool {
	inTheWay := j.s.remote.claimNamed(contract.RemoteNamespace(Node, claim.Namespace), contract.VolumeName(claim.UID))
	return claim.DeletionTimestamp != nil || j.lacksSource(claim) || !j.s.local.isHere(claim) ||
		ptr.Deref(claim.Spec.StorageClassName, "") == "odd" || claim.Spec.Selector != nil ||
		inTheWay != nil && (inTheWay.Labels[contract.LabelNodeName] != Node || inTheWay.DeletionTimestamp != nil)
}

// lacksSource reports whether a claim is to begin with data that it cannot have.
func (j *judge) lacksSource(claim *corev1.PersistentVolumeClaim) bool {
	from := translate.CloneOf(claim)
	if from == "" {
		return false
	}
	source := j.s.local.claimNamed(claim.Namespace, from)
	if source == nil || source.Status.Phase != corev1.ClaimBound || source.DeletionTimestamp != nil ||
		ptr.Deref(source.Spec.VolumeMode, "") != ptr.Deref(claim.Spec.VolumeMode, "") {
		return true
	}
	of := j.s.local.volumeNamed(source.Spec.VolumeName)
	if of == nil || !isFor(of, source) || of.Labels[contract.LabelNodeName] != Node {
		return true
	}
	remote := j.remoteOf(of)
	return remote == nil || remote.Status.Phase != corev1.ClaimBound || remote.DeletionTimestamp != nil
}

// boundAtRest expects that a bound claim and its volume are what the remote claim is.
func (j *judge) boundAtRest(claim *corev1.PersistentVolumeClaim, of *corev1.PersistentVolume) {
	remote, reason := j.remoteOf(of), ""
	for _, condition := range claim.Status.Conditions {
		if condition.Type == contract.ConditionRemoteBound {
			reason = condition.Reason
		}
	}
	if !slices.ContainsFunc(claim.Status.Conditions, isUnused) {
		j.complain("local claim %s has lost a condition of others", claim.UID)
	}
	switch {
	case remote == nil && reason != translate.ReasonRemoteClaimLost:
		j.complain("the remote claim of volume %s is gone, and is said to be %q", of.Name, reason)
		return
	case remote == nil:
		return
	case remote.DeletionTimestamp != nil && reason != translate.ReasonRemoteClaimEnding:
		j.complain("the remote claim of volume %s ends, and is said to be %q", of.Name, reason)
	case remote.DeletionTimestamp == nil && remote.Annotations[contract.AnnotationVolume] != string(of.UID):
		j.complain("remote claim %s is not marked as that of volume %s", remote.UID, of.UID)
	case remote.DeletionTimestamp == nil && (remote.Status.Phase == corev1.ClaimBound) != (reason == translate.ReasonRemoteClaimBound):
		j.complain("remote claim %s is %s, and is said to be %q", remote.UID, remote.Status.Phase, reason)
	}
	if remote.Status.Phase != corev1.ClaimBound || remote.DeletionTimestamp != nil {
		return
	}
	j.grownAtRest(claim, of, remote)
}

// grownAtRest expects that a claim and its volume are as large as the remote claim, which
// becomes as large as is requested, also if less is requested than in vain before.
func (j *judge) grownAtRest(claim *corev1.PersistentVolumeClaim, of *corev1.PersistentVolume, remote *corev1.PersistentVolumeClaim) {
	want, has := remote.Status.Capacity[corev1.ResourceStorage], claim.Status.Capacity[corev1.ResourceStorage]
	offered := of.Spec.Capacity[corev1.ResourceStorage]
	disk, resizes := volume.Disk(remote)
	if order := offered.Cmp(disk); want.Cmp(has) != 0 || order < 0 || order > 0 && !resizes {
		j.complain("remote claim %s has %s, local claim %s, volume %s", remote.UID, want.String(), has.String(), offered.String())
	}
	if there, told := resizeOf(remote), resizeOf(claim); there != told {
		j.complain("remote claim %s has conditions %q, the local one %q", remote.UID, there, told)
	}
	requested, asked := sizeOf(&claim.Spec), sizeOf(&remote.Spec)
	grows := requested.Cmp(asked) > 0 && ptr.Deref(remote.Spec.StorageClassName, "") != classLate
	if grows || requested.Cmp(asked) < 0 && requested.Cmp(want) > 0 {
		j.complain("local claim %s requests %s, the remote one %s", claim.UID, requested.String(), asked.String())
	}
}

// resizeOf describes how far a claim has grown.
func resizeOf(claim *corev1.PersistentVolumeClaim) string {
	var described []string
	for _, condition := range claim.Status.Conditions {
		if condition.Type != conditionUnused && condition.Type != contract.ConditionRemoteBound {
			described = append(described, string(condition.Type))
		}
	}
	for name, status := range claim.Status.AllocatedResourceStatuses {
		described = append(described, fmt.Sprint(name, "=", status))
	}
	return strings.Join(described, " ")
}

// remoteClaimAtRest expects that a remote claim of akd's is that of a volume, or was.
func (j *judge) remoteClaimAtRest(claim *corev1.PersistentVolumeClaim) {
	if claim.Labels[contract.LabelNodeName] != Node || claim.DeletionTimestamp != nil {
		return
	}
	of, committed := j.s.local.volumeNamed(claim.Name), claim.Annotations[contract.AnnotationVolume] != ""
	replaced := len(j.claimLife(claim.Name).uids) > 1 // by somebody else
	switch {
	case of != nil && volume.Adopted(of) == claim.UID || replaced:
	case of != nil:
		j.complain("remote claim %s is not that of volume %s, which has %s", claim.UID, of.Name, volume.Adopted(of))
	case committed && !j.abandons && !j.restored:
		j.complain("no volume leads to remote claim %s", claim.UID)
	case !committed && j.localClaim(contract.ClaimUID(claim.Name)) == nil:
		j.complain("remote claim %s is left of a local one", claim.UID)
	}
}

// waitsForClaim reports whether a local pod cannot have one of its volumes, and says so.
func (j *judge) waitsForClaim(local *corev1.Pod) bool {
	told := slices.ContainsFunc(local.Status.Conditions, func(condition corev1.PodCondition) bool {
		return slices.Contains([]string{translate.ReasonClaimNotBound, translate.ReasonRemoteClaimLost, translate.ReasonRemoteClaimEnding,
			translate.ReasonUnsupportedVolume}, condition.Reason)
	})
	if !told {
		return false
	}
	return slices.ContainsFunc(claimsOf(local), func(name string) bool {
		claim := j.s.local.claimNamed(local.Namespace, name)
		if claim == nil || claim.DeletionTimestamp != nil || claim.Status.Phase != corev1.ClaimBound ||
			owner(claim) != "" && owner(claim) != local.UID {
			return true
		}
		of := j.s.local.volumeNamed(claim.Spec.VolumeName)
		if of == nil || of.Labels[contract.LabelNodeName] != Node {
			return true
		}
		remote := j.remoteOf(of)
		return remote == nil || remote.DeletionTimestamp != nil
	})
}

// removeClaims removes all claims and volumes, as their owners do, and what is kept in the
// remote cluster, as a person does.
func (s *scenario) removeClaims() {
	for _, claim := range s.local.claims() {
		_ = s.local.deleteStored(resourceOf(claims), claim.Namespace, claim.Name)
	}
	_ = s.do(strings.Fields("wait 1m"))
	for _, of := range s.local.volumes() {
		_ = s.local.deleteStored(resourceOf(volumes), "", of.Name)
	}
	for _, claim := range s.remote.claims() {
		_ = s.remote.deleteStored(resourceOf(claims), claim.Namespace, claim.Name)
	}
	_ = s.do(strings.Fields("wait 1m"))
}

// storedAreGone expects that nothing is left of claims.
func (j *judge) storedAreGone() {
	for server, kinds := range map[*fakeServer][]string{j.s.local: {claims, volumes}, j.s.remote: {claims}} {
		for _, kind := range kinds {
			for _, object := range server.storage.in(metav1.NamespaceAll, resourceOf(kind)) {
				if meta, err := apimeta.Accessor(object); err == nil {
					j.complain("%s %s %s/%s is left", server.name, kind, meta.GetNamespace(), meta.GetName())
				}
			}
		}
	}
}
