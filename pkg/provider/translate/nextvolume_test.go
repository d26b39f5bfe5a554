package translate

import (
	"fmt"
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
)

const (
	claimUID      = "claim-1"
	remoteUID     = "remote-1"
	volumeUID     = "volume-1"
	remoteCluster = "remote-cluster"
)

func volumeMapper() *Mapper {
	return &Mapper{
		Owner: contract.Owner{Node: "ak", ClusterUID: "local-cluster"}, Storage: true, Colocate: true, StorageClasses: []string{"standard-rwo"},
	}
}

func aClass() *storagev1.StorageClass {
	return &storagev1.StorageClass{
		ObjectMeta:        metav1.ObjectMeta{Name: "standard"},
		Provisioner:       contract.StorageDriver,
		Parameters:        map[string]string{contract.ParameterRemoteClass: "standard-rwo"},
		VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer),
	}
}

// aClaim is a local claim that waits for this node to provide its volume.
func aClaim(change ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "data", UID: claimUID, ResourceVersion: "7",
			Annotations: map[string]string{volume.AnnotationProvisioner: contract.StorageDriver, volume.AnnotationSelectedNode: "ak"},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: new("standard"),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			},
		},
	}
	for _, change := range change {
		change(claim)
	}
	return claim
}

func boundClaim(claim *corev1.PersistentVolumeClaim) {
	claim.Spec.VolumeName = contract.VolumeName(claimUID)
	claim.Status.Phase = corev1.ClaimBound
}

func aRemote(change ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	remote := volumeMapper().In("ak-1").Claim(aClaim(), "standard-rwo", "")
	remote.UID, remote.ResourceVersion = remoteUID, "3"
	remote.Status.Phase = corev1.ClaimPending
	for _, change := range change {
		change(remote)
	}
	return remote
}

func remotelyBound(claim *corev1.PersistentVolumeClaim) {
	claim.Status.Phase = corev1.ClaimBound
	claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")}
}

func committed(claim *corev1.PersistentVolumeClaim) {
	claim.Annotations[contract.AnnotationVolume] = volumeUID
}

func endingClaim(claim *corev1.PersistentVolumeClaim) {
	claim.DeletionTimestamp = new(metav1.Now())
}

func anotherUID(claim *corev1.PersistentVolumeClaim) { claim.UID = "another" }

func aVolume(change ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	local := volumeMapper().In("ak-1").Volume(aClaim(), aRemote(), aClass(), remoteCluster)
	local.UID, local.ResourceVersion = volumeUID, "5"
	local.Status.Phase = corev1.VolumeBound
	for _, change := range change {
		change(local)
	}
	return local
}

func released(volume *corev1.PersistentVolume) { volume.Status.Phase = corev1.VolumeReleased }

func retained(volume *corev1.PersistentVolume) {
	volume.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
}

func endingVolume(volume *corev1.PersistentVolume) { volume.DeletionTimestamp = new(metav1.Now()) }

func TestNextVolume(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		state  VolumeState
		want   VolumeAction
	}{
		"created": {
			reason: "a claim whose first pod was scheduled to this node",
			state:  VolumeState{Claim: aClaim(), Class: aClass()},
			want:   VolumeCreateRemote,
		},
		"of another node": {
			reason: "its first pod was scheduled elsewhere",
			state: VolumeState{Class: aClass(), Claim: aClaim(func(claim *corev1.PersistentVolumeClaim) {
				claim.Annotations[volume.AnnotationSelectedNode] = "other"
			})},
			want: VolumeNone,
		},
		"without a pod": {
			reason: "the class waits for the first pod",
			state: VolumeState{Class: aClass(), Claim: aClaim(func(claim *corev1.PersistentVolumeClaim) {
				delete(claim.Annotations, volume.AnnotationSelectedNode)
			})},
			want: VolumeNone,
		},
		"immediate": {
			reason: "a class that waits for no pod and has volumes on this node only",
			state: VolumeState{
				Class: func() *storagev1.StorageClass {
					class := aClass()
					class.VolumeBindingMode = new(storagev1.VolumeBindingImmediate)
					class.AllowedTopologies = []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{
						{Key: contract.LabelNodeName, Values: []string{"ak"}},
					}}}
					return class
				}(),
				Claim: aClaim(func(claim *corev1.PersistentVolumeClaim) { delete(claim.Annotations, volume.AnnotationSelectedNode) }),
			},
			want: VolumeCreateRemote,
		},
		"not yet ours": {
			reason: "Kubernetes says when it is time to provide a volume",
			state: VolumeState{Class: aClass(), Claim: aClaim(func(claim *corev1.PersistentVolumeClaim) {
				delete(claim.Annotations, volume.AnnotationProvisioner)
			})},
			want: VolumeNone,
		},
		"remotely pending": {
			reason: "the remote class provides storage at once, and has not yet",
			state:  VolumeState{Claim: aClaim(), Class: aClass(), Remote: aRemote()},
			want:   VolumeWait,
		},
		"remotely late": {
			reason: "the remote class waits for a pod, which waits for the local volume",
			state:  VolumeState{Claim: aClaim(), Class: aClass(), Remote: aRemote(), Late: true},
			want:   VolumeCreate,
		},
		"remotely bound": {
			reason: "the storage is there",
			state:  VolumeState{Claim: aClaim(), Class: aClass(), Remote: aRemote(remotelyBound)},
			want:   VolumeCreate,
		},
		"remotely ending before": {
			reason: "somebody deletes a remote claim that nobody has used",
			state:  VolumeState{Claim: aClaim(), Class: aClass(), Remote: aRemote(remotelyBound, endingClaim)},
			want:   VolumeWait,
		},
		"volume lost by a restore": {
			reason: "the local cluster was restored from before the volume was created; its claim is there, and so is the data",
			state:  VolumeState{Claim: aClaim(), Class: aClass(), Remote: aRemote(remotelyBound, committed)},
			want:   VolumeCreate,
		},
		"not committed": {
			reason: "no pod may use the claim before",
			state:  VolumeState{Claim: aClaim(boundClaim), Class: aClass(), Volume: aVolume(), Remote: aRemote()},
			want:   VolumeCommit,
		},
		"bound": {
			state: VolumeState{Claim: aClaim(boundClaim), Class: aClass(), Volume: aVolume(), Remote: aRemote(committed)},
			want:  VolumeMirror,
		},
		"terminating claim": {
			reason: "pods still use it",
			state:  VolumeState{Claim: aClaim(boundClaim, endingClaim), Class: aClass(), Volume: aVolume(), Remote: aRemote(committed)},
			want:   VolumeMirror,
		},
		"released": {
			state: VolumeState{Volume: aVolume(released), Remote: aRemote(committed)},
			want:  VolumeDeleteRemote,
		},
		"released before it was committed": {
			reason: "the mark is for claims that have a future",
			state:  VolumeState{Volume: aVolume(released), Remote: aRemote()},
			want:   VolumeDeleteRemote,
		},
		"remote ending": {
			state: VolumeState{Volume: aVolume(released), Remote: aRemote(committed, endingClaim)},
			want:  VolumeWait,
		},
		"remote gone": {
			state: VolumeState{Volume: aVolume(released)},
			want:  VolumeRelease,
		},
		"remote replaced": {
			reason: "the claim of that name is not the volume's",
			state:  VolumeState{Volume: aVolume(released), Remote: aRemote(committed, anotherUID)},
			want:   VolumeRelease,
		},
		"remote gone, volume ending": {
			state: VolumeState{Volume: aVolume(released, endingVolume)},
			want:  VolumeRelease,
		},
		"kept": {
			state: VolumeState{Volume: aVolume(released, retained), Remote: aRemote(committed)},
			want:  VolumeKeep,
		},
		"kept volume deleted": {
			reason: "a person deletes the local volume only",
			state:  VolumeState{Volume: aVolume(released, retained, endingVolume), Remote: aRemote(committed)},
			want:   VolumeLetGo,
		},
		"used volume deleted before its claim": {
			reason: "it is about to be released, and then its policy counts; let go before, it would leave its data behind",
			state:  VolumeState{Volume: aVolume(endingVolume), Remote: aRemote(committed)},
			want:   VolumeMirror,
		},
		"unused volume deleted": {
			reason: "it was imported and never bound: nothing says that its data is not wanted",
			state: VolumeState{Volume: aVolume(endingVolume, func(volume *corev1.PersistentVolume) {
				volume.Status.Phase = corev1.VolumeAvailable
			}), Remote: aRemote(committed)},
			want: VolumeLetGo,
		},
		"orphan": {
			state: VolumeState{Remote: aRemote(committed)},
			want:  VolumeOrphan,
		},
		"never used": {
			state: VolumeState{Remote: aRemote()},
			want:  VolumeDiscard,
		},
		"bound to another volume meanwhile": {
			state: VolumeState{Class: aClass(), Remote: aRemote(), Claim: aClaim(func(claim *corev1.PersistentVolumeClaim) {
				claim.Spec.VolumeName = "pv-7"
			})},
			want: VolumeDiscard,
		},
		"lost": {
			state: VolumeState{Claim: aClaim(boundClaim), Class: aClass(), Volume: aVolume()},
			want:  VolumeLost,
		},
		"lost to another one": {
			state: VolumeState{Claim: aClaim(boundClaim), Class: aClass(), Volume: aVolume(), Remote: aRemote(committed, anotherUID)},
			want:  VolumeLost,
		},
		"adopted": {
			reason: "a person says that the other one has the data",
			state: VolumeState{Claim: aClaim(boundClaim), Class: aClass(), Remote: aRemote(committed, anotherUID),
				Volume: aVolume(func(volume *corev1.PersistentVolume) {
					volume.Annotations[contract.AnnotationAdoptedUID] = "another"
				})},
			want: VolumeMirror,
		},
		"in another remote cluster": {
			reason: "a claim of the same name there says nothing",
			state:  VolumeState{Volume: aVolume(released), Remote: aRemote(committed), RemoteClusterUID: "moved"},
			want:   VolumeLost,
		},
		"remote deleted by others": {
			reason: "the data is still there while pods use it",
			state:  VolumeState{Claim: aClaim(boundClaim), Class: aClass(), Volume: aVolume(), Remote: aRemote(committed, endingClaim)},
			want:   VolumeEnding,
		},
		"volume of another node": {
			state: VolumeState{Volume: aVolume(released, func(volume *corev1.PersistentVolume) {
				volume.Labels[contract.LabelNodeName] = "other"
			}), Remote: aRemote(committed)},
			want: VolumeNone,
		},
		"foreign volume": {
			state: VolumeState{Volume: &corev1.PersistentVolume{}, Remote: aRemote(committed)},
			want:  VolumeNone,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.state.RemoteClusterUID == "" {
				test.state.RemoteClusterUID = remoteCluster
			}
			if got := volumeMapper().NextVolume(test.state); got != test.want {
				t.Errorf("NextVolume = %s, want %s: %s", got, test.want, test.reason)
			}
		})
	}
}

// anyState returns a state that a cluster can be in, or not.
func anyState(r *rand.Rand) VolumeState {
	maybe := func() bool { return r.IntN(2) == 0 }
	state := VolumeState{RemoteClusterUID: remoteCluster, Late: maybe()}
	if maybe() {
		state.Class = aClass()
	}
	if maybe() {
		state.Claim = aClaim()
		if maybe() {
			boundClaim(state.Claim)
		}
		if maybe() {
			endingClaim(state.Claim)
		}
	}
	if maybe() {
		state.Volume = aVolume()
		phases := []corev1.PersistentVolumePhase{corev1.VolumePending, corev1.VolumeAvailable, corev1.VolumeBound,
			corev1.VolumeReleased, corev1.VolumeFailed}
		state.Volume.Status.Phase = phases[r.IntN(len(phases))]
		if maybe() {
			retained(state.Volume)
		}
		if maybe() {
			endingVolume(state.Volume)
		}
		if r.IntN(4) == 0 {
			state.RemoteClusterUID = "moved"
		}
	}
	if maybe() {
		state.Remote = aRemote()
		for _, change := range []func(*corev1.PersistentVolumeClaim){remotelyBound, committed, endingClaim, anotherUID} {
			if maybe() {
				change(state.Remote)
			}
		}
	}
	return state
}

// Whatever the state, a remote claim is deleted on positive evidence only, a lost one is not
// replaced, and a volume is not let go while it may still lead somebody to delete the data.
func TestNextVolumeDestroysNothing(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test that repeats
	seen := map[VolumeAction]int{}
	for range 20000 {
		state := anyState(r)
		action := volumeMapper().NextVolume(state)
		seen[action]++
		for _, wrong := range violations(state, action) {
			t.Errorf("%s: %s in %s", action, wrong, describeState(state))
		}
	}
	for _, action := range []VolumeAction{VolumeCreateRemote, VolumeCreate, VolumeCommit, VolumeMirror, VolumeDiscard, VolumeDeleteRemote,
		VolumeRelease, VolumeLetGo, VolumeKeep, VolumeOrphan, VolumeLost, VolumeEnding} {
		if seen[action] == 0 {
			t.Errorf("no state led to %s", action)
		}
	}
}

func violations(s VolumeState, action VolumeAction) []string {
	var wrong []string
	demand := func(holds bool, text string) {
		if !holds {
			wrong = append(wrong, text)
		}
	}
	switch action { //nolint:exhaustive // the others destroy nothing
	case VolumeDeleteRemote:
		demand(s.Volume != nil && s.Volume.Status.Phase == corev1.VolumeReleased, "the volume is not released")
		demand(s.Volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete, "the volume is to be retained")
		demand(s.Remote.UID == volume.Adopted(s.Volume), "the volume has another remote claim")
		demand(s.RemoteClusterUID == remoteCluster, "the volume is in another cluster")
	case VolumeDiscard:
		demand(!isCommitted(s.Remote), "the claim has been used")
		demand(s.Volume == nil, "there is a volume")
		demand(s.Claim == nil || isBoundToAnother(s.Claim), "its local claim is there")
	case VolumeCreateRemote:
		demand(s.Volume == nil && s.Remote == nil, "there is another one")
		demand(s.Claim.DeletionTimestamp == nil, "its local claim ends")
	case VolumeRelease:
		demand(s.Remote == nil || s.Remote.UID != volume.Adopted(s.Volume), "the data is still there")
	case VolumeLetGo:
		demand(s.Volume.DeletionTimestamp != nil, "nobody deletes the volume")
	}
	return wrong
}

func describeState(s VolumeState) string {
	text := ""
	if s.Claim != nil {
		text += fmt.Sprintf("claim{volume %q, ends %v} ", s.Claim.Spec.VolumeName, s.Claim.DeletionTimestamp != nil)
	}
	if s.Volume != nil {
		text += fmt.Sprintf("volume{%s, %s, ends %v} ", s.Volume.Status.Phase, s.Volume.Spec.PersistentVolumeReclaimPolicy,
			s.Volume.DeletionTimestamp != nil)
	}
	if s.Remote != nil {
		text += fmt.Sprintf("remote{%s, %s, committed %v, ends %v}", s.Remote.UID, s.Remote.Status.Phase, isCommitted(s.Remote),
			s.Remote.DeletionTimestamp != nil)
	}
	return text
}
