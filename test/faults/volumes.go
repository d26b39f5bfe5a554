package faults

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// conflict is the termination message of a writer that met another one. That of any other
// is the marker of its volume; see test/e2e/writer.
const conflict = "another process writes"

// volumeHistory is what both API servers, and the pods that write, have said about claims
// and volumes, by the UID of the local claim.
type volumeHistory struct {
	mu    sync.Mutex
	known map[types.UID]*volumeLife
	// owners are the local claims of the markers that have been seen.
	owners map[string]types.UID
	// uses are the claims of local pods by the names of their volumes.
	uses map[types.UID]map[string]string
	// last has the side and the UID of each object.
	last  map[string]lastSeen
	found []violation
	told  map[string]bool
}

// volumeLife is what has become of one local claim.
type volumeLife struct {
	claim   *corev1.PersistentVolumeClaim // its last state; nil if it was never seen
	volume  *corev1.PersistentVolume      // likewise
	remotes map[types.UID]*remoteClaim
	// unseen: a state of the volume may have been missed.
	unseen bool
	// capacity is the largest that the claim or the volume has had.
	capacity map[string]resource.Quantity
	marker   string
}

// remoteClaim is one that has had the name that belongs to a local claim.
type remoteClaim struct {
	committed bool         // it was given to a volume: it may have data
	deleted   *metav1.Time // when somebody asked for that; nil for not yet
}

// lastSeen is the last version of an object that the recorder has seen.
type lastSeen struct {
	version uint64
	gone    bool
}

func newVolumeHistory() *volumeHistory {
	return &volumeHistory{
		known:  map[types.UID]*volumeLife{},
		owners: map[string]types.UID{},
		uses:   map[types.UID]map[string]string{},
		last:   map[string]lastSeen{},
		told:   map[string]bool{},
	}
}

func (h *volumeHistory) of(claim types.UID) *volumeLife {
	if h.known[claim] == nil {
		h.known[claim] = &volumeLife{remotes: map[types.UID]*remoteClaim{}, capacity: map[string]resource.Quantity{}}
	}
	return h.known[claim]
}

// noteVersion notes what has been seen of an object.
func (h *volumeHistory) noteVersion(from side, object metav1.Object, gone bool) {
	h.last[string(from)+string(object.GetUID())] = lastSeen{version: version(object), gone: gone}
}

// behind returns an error while the history lacks something of what an API server lists.
func (h *volumeHistory) behind(from side, listed []metav1.Object) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	there := map[string]bool{}
	for _, object := range listed {
		key := string(from) + string(object.GetUID())
		there[key] = true
		if known, ok := h.last[key]; !ok || known.version < version(object) {
			return fmt.Errorf("the recorder has not seen %s %s at version %s", from, object.GetName(), object.GetResourceVersion())
		}
	}
	for key, known := range h.last {
		if strings.HasPrefix(key, string(from)) && !known.gone && !there[key] {
			return fmt.Errorf("the recorder has not seen that %s is gone", key)
		}
	}
	return nil
}

// sawClaim records what the local API server says about a claim.
func (h *volumeHistory) sawClaim(claim *corev1.PersistentVolumeClaim, gone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noteVersion(local, claim, gone)
	life := h.of(claim.UID)
	life.claim = claim
	h.notSmaller(life, "claim "+claim.Namespace+"/"+claim.Name, claim.Status.Capacity)
}

// sawVolume records what the local API server says about a volume; unseen if its last state
// was missed.
func (h *volumeHistory) sawVolume(volume *corev1.PersistentVolume, gone, unseen bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noteVersion(local, volume, gone)
	life := h.of(contract.ClaimUID(volume.Name))
	life.volume, life.unseen = volume, life.unseen || unseen
	h.notSmaller(life, "volume "+volume.Name, volume.Spec.Capacity)
}

// notSmaller finds a claim or a volume that has become smaller.
func (h *volumeHistory) notSmaller(life *volumeLife, what string, has corev1.ResourceList) {
	now, is := has[corev1.ResourceStorage]
	if !is {
		return
	}
	if before := life.capacity[what]; now.Cmp(before) < 0 {
		h.note(shrunk, "%s has shrunk from %s to %s", what, before.String(), now.String())
	}
	life.capacity[what] = now
}

// sawRemoteClaim records what the remote API server says about a claim.
func (h *volumeHistory) sawRemoteClaim(claim *corev1.PersistentVolumeClaim, gone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noteVersion(remote, claim, gone)
	life := h.of(contract.ClaimUID(claim.Name))
	known := life.remotes[claim.UID]
	if known == nil {
		known = &remoteClaim{}
		for _, other := range life.remotes {
			if other.committed {
				h.note(destroyed, "remote claim %s/%s is a second one, and the first may have data", claim.Namespace, claim.Name)
			}
		}
		life.remotes[claim.UID] = known
	}
	known.committed = known.committed || claim.Annotations[contract.AnnotationVolume] != ""
	if claim.DeletionTimestamp != nil {
		known.deleted = claim.DeletionTimestamp
	}
}

// sawPod records with which claims a pod is, and what its containers have found in them.
func (h *volumeHistory) sawPod(from side, pod *corev1.Pod) {
	h.mu.Lock()
	defer h.mu.Unlock()
	claims := claimsOf(pod)
	if from == local {
		h.uses[pod.UID] = claims
		return
	}
	for volume, there := range claims {
		claim := contract.ClaimUID(there)
		h.usesItsOwn(pod, volume, claim)
		for _, ended := range endings(pod) {
			switch {
			case ended.Message == conflict:
				h.note(raced, "remote pod %s met another writer of the volume of claim %s at %s", name(pod), claim, ended.FinishedAt)
			case isMarker(ended.Message):
				h.mark(claim, ended.Message)
			}
		}
	}
}

// usesItsOwn finds a remote pod with another claim than that of its local pod.
func (h *volumeHistory) usesItsOwn(pod *corev1.Pod, volume string, claim types.UID) {
	wanted, known := h.uses[localUID(remote, pod)][volume]
	life := h.known[claim]
	if !known || life == nil || life.claim == nil {
		return
	}
	if life.claim.Name != wanted || contract.RemoteNamespace(node, life.claim.Namespace) != pod.Namespace {
		h.note(mixed, "remote pod %s has claim %s/%s in place of %s", name(pod), life.claim.Namespace, life.claim.Name, wanted)
	}
}

// sawMarker records what is in a volume, or that nothing is.
func (h *volumeHistory) sawMarker(claim types.UID, marker string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mark(claim, marker)
}

// mark finds volumes with the marker of another one, and with another one than before.
func (h *volumeHistory) mark(claim types.UID, marker string) {
	life := h.of(claim)
	if life.marker != "" && marker != life.marker {
		h.note(destroyed, "the volume of claim %s had the marker %s, and has %q", claim, life.marker, marker)
	}
	if marker == "" {
		return
	}
	if owner, known := h.owners[marker]; known && owner != claim {
		h.note(mixed, "the volume of claim %s has the marker of that of %s", claim, owner)
	}
	h.owners[marker], life.marker = claim, marker
}

// marked is how many volumes have had a marker.
func (h *volumeHistory) marked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.owners)
}

// note notes a violation once.
func (h *volumeHistory) note(what breach, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if h.told[text] {
		return
	}
	h.told[text] = true
	h.found = append(h.found, violation{Breach: what, Text: text})
}

// verdict judges all volumes once both clusters agree.
func (h *volumeHistory) verdict() (found []violation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, life := range h.known {
		h.judge(life)
	}
	found, h.found = h.found, nil
	return found
}

// judge finds remote claims that were deleted and had to stay: those with data that the
// local cluster had not released, or retains.
func (h *volumeHistory) judge(life *volumeLife) {
	for uid, r := range life.remotes {
		if r.deleted == nil || !r.committed || life.unseen || life.isReleased() && !r.deleted.Before(life.volume.Status.LastPhaseTransitionTime) {
			continue
		}
		what := "of which there is none"
		if v := life.volume; v != nil {
			what = fmt.Sprintf("%s, which is %s since %s and to %s",
				v.Name, v.Status.Phase, v.Status.LastPhaseTransitionTime, v.Spec.PersistentVolumeReclaimPolicy)
		}
		h.note(destroyed, "remote claim %s was deleted at %s: it had the data of volume %s", uid, r.deleted, what)
	}
}

// isReleased reports whether the local cluster has given the data up.
func (l *volumeLife) isReleased() bool {
	return l.volume != nil && l.volume.Status.Phase == corev1.VolumeReleased &&
		l.volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete
}

// claimsOf are the names of a pod's claims by the names of its volumes.
func claimsOf(pod *corev1.Pod) map[string]string {
	claims := map[string]string{}
	for i := range pod.Spec.Volumes {
		switch volume := &pod.Spec.Volumes[i]; {
		case volume.PersistentVolumeClaim != nil:
			claims[volume.Name] = volume.PersistentVolumeClaim.ClaimName
		case volume.Ephemeral != nil:
			claims[volume.Name] = pod.Name + "-" + volume.Name
		}
	}
	return claims
}

// endings are those of a pod's containers that are known.
func endings(pod *corev1.Pod) (ended []*corev1.ContainerStateTerminated) {
	for i := range pod.Status.ContainerStatuses {
		status := &pod.Status.ContainerStatuses[i]
		for _, state := range []*corev1.ContainerStateTerminated{status.State.Terminated, status.LastTerminationState.Terminated} {
			if state != nil {
				ended = append(ended, state)
			}
		}
	}
	return ended
}

// isMarker reports whether a termination message is a writer's, and not of the kubelet or
// of a writer that was killed before it could say anything.
func isMarker(message string) bool { return regexp.MustCompile(`^[A-Z2-7]{26}$`).MatchString(message) }
