package volume_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
)

func spec() volume.Spec {
	return volume.Spec{
		Node:        "vk-a",
		Remote:      volume.Remote{Namespace: "vk-a-0123456789abcdef", Claim: "pvc-4f1c", UID: "remote", ClusterUID: "cluster"},
		Claim:       volume.Claim{Namespace: "shop", Name: "data-web-0", UID: "4f1c"},
		Class:       "standard",
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Capacity:    resource.MustParse("1Gi"),
		Reclaim:     corev1.PersistentVolumeReclaimDelete,
	}
}

const want = `metadata:
  annotations:
    pv.kubernetes.io/provisioned-by: actual.vk
  finalizers:
  - actual.vk/remote-claim
  labels:
    actual.vk/node-name: vk-a
  name: pvc-4f1c
spec:
  accessModes:
  - ReadWriteOnce
  capacity:
    storage: 1Gi
  claimRef:
    apiVersion: v1
    kind: PersistentVolumeClaim
    name: data-web-0
    namespace: shop
    uid: 4f1c
  csi:
    driver: actual.vk
    volumeAttributes:
      actual.vk/remote-cluster-uid: cluster
      actual.vk/remote-uid: remote
    volumeHandle: vk-a-0123456789abcdef/pvc-4f1c
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions:
        - key: actual.vk/node-name
          operator: In
          values:
          - vk-a
  persistentVolumeReclaimPolicy: Delete
  storageClassName: standard
  volumeMode: Filesystem
status: {}
`

func TestNew(t *testing.T) {
	got, err := yaml.Marshal(volume.New(spec()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestNewByHand(t *testing.T) {
	by := spec()
	by.Claim.UID, by.Reclaim, by.Mode = "", "", new(corev1.PersistentVolumeBlock)
	got := volume.New(by)
	if uid := got.Spec.ClaimRef.UID; uid != "" {
		t.Errorf("the volume is for the claim with UID %q only", uid)
	}
	if policy := got.Spec.PersistentVolumeReclaimPolicy; policy != corev1.PersistentVolumeReclaimRetain {
		t.Errorf("without a policy, the data would not be kept: %s", policy)
	}
	if mode := *got.Spec.VolumeMode; mode != corev1.PersistentVolumeBlock {
		t.Errorf("got volume mode %s", mode)
	}
}

// TestNewAlone: the objects of a cache must not change with the volume.
func TestNewAlone(t *testing.T) {
	of := spec()
	of.Mode = new(corev1.PersistentVolumeBlock)
	made := volume.New(of)
	made.Spec.AccessModes[0], *made.Spec.VolumeMode = corev1.ReadWriteMany, corev1.PersistentVolumeFilesystem
	if of.AccessModes[0] != corev1.ReadWriteOnce || *of.Mode != corev1.PersistentVolumeBlock {
		t.Error("the volume shares fields with what it was made of")
	}
}

func TestOf(t *testing.T) {
	made := volume.New(spec())
	node, remote, ok := volume.Of(made)
	if !ok || node != spec().Node || remote != spec().Remote {
		t.Errorf("got %q, %v, %t", node, remote, ok)
	}
	if uid := volume.Adopted(made); uid != spec().Remote.UID {
		t.Errorf("got UID %q before adoption", uid)
	}
	made.Annotations[contract.AnnotationAdoptedUID] = "restored"
	if uid := volume.Adopted(made); uid != "restored" {
		t.Errorf("got UID %q after adoption", uid)
	}
}

func TestOfOthers(t *testing.T) {
	handle, driver := volume.New(spec()), volume.New(spec())
	handle.Spec.CSI.VolumeHandle = "vol-1"
	driver.Spec.CSI.Driver = "ebs.csi.aws.com"
	for title, other := range map[string]*corev1.PersistentVolume{"None": {}, "Handle": handle, "Driver": driver} {
		t.Run(title, func(t *testing.T) {
			if _, _, ok := volume.Of(other); ok {
				t.Error("the volume was taken for one of AK")
			}
		})
	}
}

func TestSize(t *testing.T) {
	claim := &corev1.PersistentVolumeClaim{}
	claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("4Gi")}
	for phase, want := range map[corev1.PersistentVolumeClaimPhase]string{corev1.ClaimPending: "1Gi", corev1.ClaimBound: "4Gi"} {
		claim.Status.Phase = phase
		if size := volume.Size(claim); size.String() != want {
			t.Errorf("%s: size %s, want %s", phase, size.String(), want)
		}
	}
}

// A disk is as large as its claim is told to be, unless a kubelet is yet to grow the file system
// on it.
func TestDisk(t *testing.T) {
	for _, test := range []struct {
		status  corev1.ClaimResourceStatus
		want    string
		resizes bool
	}{
		{"", "1Gi", false},
		{corev1.PersistentVolumeClaimControllerResizeInProgress, "1Gi", true},
		{corev1.PersistentVolumeClaimControllerResizeInfeasible, "1Gi", true},
		{corev1.PersistentVolumeClaimNodeResizePending, "3Gi", true},
		{corev1.PersistentVolumeClaimNodeResizeInProgress, "3Gi", true},
		{corev1.PersistentVolumeClaimNodeResizeInfeasible, "3Gi", true},
	} {
		claim := &corev1.PersistentVolumeClaim{}
		claim.Status.Phase = corev1.ClaimBound
		claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
		claim.Status.AllocatedResources = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("3Gi")}
		if test.status != "" {
			claim.Status.AllocatedResourceStatuses = map[corev1.ResourceName]corev1.ClaimResourceStatus{corev1.ResourceStorage: test.status}
		}
		size, resizes := volume.Disk(claim)
		if size.String() != test.want || resizes != test.resizes {
			t.Errorf("%q: size %s, %v, want %s, %v", test.status, size.String(), resizes, test.want, test.resizes)
		}
	}
}
