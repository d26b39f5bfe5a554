package translate

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

func TestRemoteClaim(t *testing.T) {
	t.Parallel()
	remote := volumeMapper().In("ak-1").Claim(aClaim(), "standard-rwo", "")
	want := map[string]string{
		contract.LabelNodeName: "ak", contract.LabelClusterUID: "local-cluster", contract.LabelNamespace: "shop", contract.LabelUID: claimUID,
	}
	if diff := cmp.Diff(want, remote.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if remote.Name != "pvc-"+claimUID || remote.Namespace != "ak-1" || *remote.Spec.StorageClassName != "standard-rwo" ||
		remote.Annotations[contract.AnnotationClaim] != "data" || len(remote.Annotations) != 1 || len(remote.Finalizers) != 0 {
		t.Errorf("remote claim %+v", remote)
	}
}

func TestRemoteClassRefuses(t *testing.T) {
	t.Parallel()
	source := &corev1.TypedLocalObjectReference{Kind: "VolumeSnapshot", Name: "other"}
	tests := map[string]struct {
		claim func(*corev1.PersistentVolumeClaim)
		class func(*storagev1.StorageClass)
		want  string
	}{
		"no remote class": {
			class: func(class *storagev1.StorageClass) { class.Parameters = nil },
			want:  "set its parameter actual.vk/remote-class",
		},
		"class not installed": {
			class: func(class *storagev1.StorageClass) { class.Parameters[contract.ParameterRemoteClass] = "ssd" },
			want:  "--storage-class ssd",
		},
		"mount options": {
			class: func(class *storagev1.StorageClass) { class.MountOptions = []string{"ro"} },
			want:  "mount options",
		},
		"selector": {
			claim: func(claim *corev1.PersistentVolumeClaim) { claim.Spec.Selector = &metav1.LabelSelector{} },
			want:  "made, not found",
		},
		"data source": {
			claim: func(claim *corev1.PersistentVolumeClaim) { claim.Spec.DataSource = source },
			want:  "change dataSource",
		},
		"attributes class": {
			claim: func(claim *corev1.PersistentVolumeClaim) { claim.Spec.VolumeAttributesClassName = new("fast") },
			want:  "VolumeAttributesClass",
		},
		"nothing out of place": {},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claim, class := aClaim(), aClass()
			if test.claim != nil {
				test.claim(claim)
			}
			if test.class != nil {
				test.class(class)
			}
			remote, err := volumeMapper().RemoteClass(claim, class)
			if test.want == "" {
				if err != nil || remote != "standard-rwo" {
					t.Errorf("RemoteClass = %q, %v", remote, err)
				}
				return
			}
			refusal, ok := errors.AsType[*Refusal](err)
			if !ok || refusal.Reason != ReasonProvisioningFailed || !strings.Contains(refusal.Message, test.want) {
				t.Errorf("RemoteClass = %v, want a refusal with %q", err, test.want)
			}
		})
	}
}

// The status of a claim has several writers: akd changes what follows from the remote claim, and
// leaves the phase and the conditions of others.
func TestClaimStatusPatch(t *testing.T) {
	t.Parallel()
	local := aClaim(boundClaim)
	local.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	local.Status.Conditions = []corev1.PersistentVolumeClaimCondition{
		{Type: "example.com/Backup", Status: corev1.ConditionTrue},
		{Type: corev1.PersistentVolumeClaimResizing, Status: corev1.ConditionTrue, Message: "old"},
	}
	local.Status.AllocatedResources = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("3Gi")}
	remote := aRemote(remotelyBound, committed)
	remote.Status.Conditions = []corev1.PersistentVolumeClaimCondition{
		{Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: corev1.ConditionTrue, Message: "waits for pvc-" + claimUID},
		{Type: "example.com/Foreign", Status: corev1.ConditionTrue},
	}
	bound := volumeMapper().BoundState(VolumeState{Remote: remote})
	patch, err := volumeMapper().ClaimStatusPatch(local, remote, bound, metav1.Unix(100, 0))
	if err != nil {
		t.Fatal(err)
	}
	got := patchedClaim(t, local, patch)
	want := local.DeepCopy()
	want.Status.Capacity = remote.Status.Capacity
	want.Status.AllocatedResources = nil
	want.Status.Conditions = []corev1.PersistentVolumeClaimCondition{
		{
			Type: contract.ConditionRemoteBound, Status: corev1.ConditionTrue, Reason: "Bound", LastTransitionTime: metav1.Unix(100, 0),
			Message: "The data is in the remote claim ak-1/pvc-" + claimUID + ".",
		},
		{Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: corev1.ConditionTrue, Message: "waits for data"},
		{Type: "example.com/Backup", Status: corev1.ConditionTrue},
	}
	byType := func(claim *corev1.PersistentVolumeClaim) map[string]corev1.PersistentVolumeClaimCondition {
		all := map[string]corev1.PersistentVolumeClaimCondition{}
		for _, one := range claim.Status.Conditions {
			all[string(one.Type)] = one
		}
		return all
	}
	if diff := cmp.Diff(byType(want), byType(got)); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
	if size := got.Status.Capacity[corev1.ResourceStorage]; size.String() != "2Gi" || len(got.Status.AllocatedResources) != 0 ||
		got.Status.Phase != corev1.ClaimBound {
		t.Errorf("status %+v", got.Status)
	}
	if again, err := volumeMapper().ClaimStatusPatch(got, remote, bound, metav1.Unix(200, 0)); err != nil || again != nil {
		t.Errorf("a second patch: %s, %v", again, err)
	}
}

func patchedClaim(t *testing.T, claim *corev1.PersistentVolumeClaim, patch []byte) *corev1.PersistentVolumeClaim {
	t.Helper()
	before, err := json.Marshal(claim)
	if err != nil {
		t.Fatal(err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, patch, corev1.PersistentVolumeClaim{})
	if err != nil {
		t.Fatal(err)
	}
	patched := &corev1.PersistentVolumeClaim{}
	if err := json.Unmarshal(after, patched); err != nil {
		t.Fatal(err)
	}
	return patched
}

// A request is passed on when it grows, and when it takes back one that was not met. What an
// administrator of the remote cluster has enlarged stays.
func TestRequestPatch(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		wants, requested, has string
		pending, patched      bool
	}{
		"same":       {wants: "1Gi", requested: "1Gi", has: "1Gi"},
		"grows":      {wants: "2Gi", requested: "1Gi", has: "1Gi", patched: true},
		"not bound":  {wants: "2Gi", requested: "1Gi", has: "1Gi", pending: true},
		"takes back": {wants: "2Gi", requested: "5Gi", has: "1Gi", patched: true},
		"enlarged":   {wants: "1Gi", requested: "4Gi", has: "4Gi"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			size := func(text string) corev1.ResourceList {
				return corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(text)}
			}
			local, remote := aClaim(boundClaim), aRemote(remotelyBound)
			local.Spec.Resources.Requests, remote.Spec.Resources.Requests = size(test.wants), size(test.requested)
			remote.Status.Capacity = size(test.has)
			if test.pending {
				remote.Status.Phase = corev1.ClaimPending
			}
			if patch := RequestPatch(local, remote); (patch != nil) != test.patched {
				t.Errorf("RequestPatch = %s, want one: %v", patch, test.patched)
			}
		})
	}
}

func mountingPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "pod-1"},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "main", Image: "web:1"}},
			Volumes: []corev1.Volume{
				{Name: "data", VolumeSource: corev1.VolumeSource{
					PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data", ReadOnly: true},
				}},
				{Name: "scratch", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
			},
		},
	}
}

// What a pod waits for, and what it is told, is what a kubelet checks of its claims.
func TestMountClaim(t *testing.T) {
	t.Parallel()
	ready := func() VolumeOf {
		bound := aVolume(func(volume *corev1.PersistentVolume) { volume.Spec.ClaimRef.UID = claimUID })
		return VolumeOf{Claim: aClaim(boundClaim), Volume: bound, Remote: aRemote(committed)}
	}
	tests := map[string]struct {
		change func(*VolumeOf)
		reason string
		want   string
	}{
		"no claim":           {func(v *VolumeOf) { v.Claim = nil }, ReasonClaimNotBound, "does not exist"},
		"claim ending":       {func(v *VolumeOf) { endingClaim(v.Claim) }, ReasonClaimNotBound, "being deleted"},
		"claim not bound":    {func(v *VolumeOf) { v.Claim.Status.Phase = corev1.ClaimPending }, ReasonClaimNotBound, "not bound"},
		"no volume":          {func(v *VolumeOf) { v.Volume = nil }, ReasonClaimNotBound, "does not exist"},
		"local storage":      {func(v *VolumeOf) { v.Volume.Spec.CSI = nil }, ReasonUnsupportedVolume, "storage of the local cluster"},
		"another node":       {func(v *VolumeOf) { v.Volume.Labels[contract.LabelNodeName] = "vk-b" }, ReasonUnsupportedVolume, "on node vk-b"},
		"another claim":      {func(v *VolumeOf) { v.Volume.Spec.ClaimRef.UID = "x" }, ReasonClaimNotBound, "not bound to it"},
		"another namespace":  {func(v *VolumeOf) { v.Volume.Spec.CSI.VolumeHandle = "ak-2/pvc-1" }, ReasonUnsupportedVolume, "copy the data"},
		"remote claim gone":  {func(v *VolumeOf) { v.Remote = nil }, ReasonRemoteClaimLost, "is not there"},
		"remote claim other": {func(v *VolumeOf) { anotherUID(v.Remote) }, ReasonRemoteClaimLost, "is not there"},
		"remote claim ends":  {func(v *VolumeOf) { endingClaim(v.Remote) }, ReasonRemoteClaimEnding, "being deleted"},
		"not committed":      {func(v *VolumeOf) { delete(v.Remote.Annotations, contract.AnnotationVolume) }, ReasonClaimNotBound, "not marked"},
		"ready":              {func(*VolumeOf) {}, "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := ready()
			test.change(&found)
			got, err := volumeMapper().In("ak-1").MountClaim(mountingPod(), "data", "data", found)
			if test.reason == "" {
				if err != nil || got != (MountedClaim{Name: "pvc-" + claimUID, OneMachine: true}) {
					t.Errorf("MountClaim = %+v, %v", got, err)
				}
				return
			}
			refusal, ok := errors.AsType[*Refusal](err)
			if !ok || refusal.Reason != test.reason || !strings.Contains(refusal.Message, test.want) {
				t.Errorf("MountClaim = %v, want %s with %q", err, test.reason, test.want)
			}
		})
	}
}

// A claim that happens to have the name of a pod's ephemeral volume is not the pod's.
func TestMountEphemeral(t *testing.T) {
	t.Parallel()
	pod, found := mountingPod(), VolumeOf{Claim: aClaim(boundClaim)}
	if names := ClaimNames(pod); names["data"] != "data" || names["scratch"] != "web-scratch" || len(names) != 2 {
		t.Errorf("ClaimNames = %v", names)
	}
	_, err := volumeMapper().In("ak-1").MountClaim(pod, "scratch", "web-scratch", found)
	if refusal, ok := errors.AsType[*Refusal](err); !ok || !strings.Contains(refusal.Message, "was not created for the pod") {
		t.Errorf("MountClaim = %v", err)
	}
}

// The remote pod mounts remote claims, also for what was ephemeral, and runs where others that
// share a claim run.
func TestPodMounts(t *testing.T) {
	t.Parallel()
	remote, err := volumeMapper().In("ak-1").Pod(mountingPod(), PodContext{Claims: map[string]MountedClaim{
		"data": {Name: "pvc-1", OneMachine: true}, "scratch": {Name: "pvc-2"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	data, scratch := remote.Spec.Volumes[0], remote.Spec.Volumes[1]
	if claim := data.PersistentVolumeClaim; claim == nil || claim.ClaimName != "pvc-1" || !claim.ReadOnly {
		t.Errorf("volume data: %+v", data)
	}
	if claim := scratch.PersistentVolumeClaim; claim == nil || claim.ClaimName != "pvc-2" || scratch.Ephemeral != nil {
		t.Errorf("volume scratch: %+v", scratch)
	}
	label := contract.LabelVolumePrefix + "pvc-1"
	if _, ok := remote.Labels[label]; !ok || remote.Spec.Affinity == nil {
		t.Fatalf("the pod is not kept with others: labels %v, affinity %v", remote.Labels, remote.Spec.Affinity)
	}
	terms := remote.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if len(terms) != 1 || terms[0].TopologyKey != corev1.LabelHostname || terms[0].LabelSelector.MatchExpressions[0].Key != label {
		t.Errorf("terms %+v", terms)
	}
}

// A claim may begin with the data of another one, if the remote cluster has both.
func TestClones(t *testing.T) {
	t.Parallel()
	clone := aClaim(func(claim *corev1.PersistentVolumeClaim) {
		claim.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "first"}
		claim.Spec.DataSourceRef = &corev1.TypedObjectReference{Kind: "PersistentVolumeClaim", Name: "first"}
	})
	if _, err := volumeMapper().RemoteClass(clone, aClass()); err != nil || CloneOf(clone) != "first" {
		t.Errorf("RemoteClass: %v; CloneOf = %q", err, CloneOf(clone))
	}
	site := volumeMapper().In("ak-1")
	if source := site.Claim(clone, "standard-rwo", "pvc-7").Spec.DataSource; source == nil || source.Name != "pvc-7" {
		t.Errorf("data source %+v", source)
	}
	for want, change := range map[string]func(*VolumeOf){
		"":                         func(*VolumeOf) {},
		"not bound":                func(source *VolumeOf) { source.Claim = nil },
		"not bound to":             func(source *VolumeOf) { source.Claim = aClaim() },
		"not bound to a":           func(source *VolumeOf) { source.Volume = nil },
		"not bound to a volume":    func(source *VolumeOf) { source.Volume.Spec.ClaimRef.UID = "another's" },
		"storage of the local":     func(source *VolumeOf) { source.Volume.Spec.CSI = nil },
		"must be in the same":      func(source *VolumeOf) { source.Volume.Spec.CSI.VolumeHandle = "ak-2/pvc-1" },
		"volume is on node other,": func(source *VolumeOf) { source.Volume.Labels[contract.LabelNodeName] = "other" },
		"is not there":             func(source *VolumeOf) { source.Remote = nil },
		"is not there.":            func(source *VolumeOf) { source.Remote.UID = "another" },
		"is being deleted":         func(source *VolumeOf) { endingClaim(source.Remote) },
	} {
		source := VolumeOf{Claim: aClaim(boundClaim), Volume: aVolume(), Remote: aRemote(remotelyBound)}
		change(&source)
		err := site.RefuseSource(clone, source)
		if want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("RefuseSource = %v, want %q", err, want)
		}
	}
	clone.Spec.DataSourceRef.Namespace = new("other")
	if _, err := volumeMapper().RemoteClass(clone, aClass()); err == nil {
		t.Error("the data of another namespace is not refused")
	}
}
