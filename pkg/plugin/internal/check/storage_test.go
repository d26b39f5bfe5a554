package check

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
)

// storing is a subject whose node was installed with the remote class ssd.
func storing(local, remote []runtime.Object) *Subject {
	s := subject(local, remote)
	s.Node.Values.Storage = manifests.Storage{Enabled: true, Classes: []string{"ssd"}}
	return s
}

func TestStorageDriver(t *testing.T) {
	t.Parallel()
	const install = "kubectl actual install vk --remote-context=there"
	driver := func(attach *bool) []runtime.Object {
		return []runtime.Object{&storagev1.CSIDriver{
			ObjectMeta: metav1.ObjectMeta{Name: contract.StorageDriver},
			Spec:       storagev1.CSIDriverSpec{AttachRequired: attach},
		}}
	}
	expect(t, "as installed", storageDriver(t.Context(), storing(driver(new(false)), nil)), LevelOK, "CSIDriver actual.vk", "")
	expect(t, "deleted", storageDriver(t.Context(), storing(nil, nil)), LevelFailed, "there is no CSIDriver actual.vk", install)
	expect(t, "the default is to attach", storageDriver(t.Context(), storing(driver(nil), nil)), LevelFailed, "attachRequired: true",
		"kubectl delete csidriver actual.vk\n"+install)
	expect(t, "storage is off", storageDriver(t.Context(), subject(nil, nil)), LevelSkipped, "storage.mode: none", "")
}

func TestStorageClasses(t *testing.T) {
	t.Parallel()
	const install = "kubectl actual install vk "
	class := func(name string, changes ...func(*storagev1.StorageClass)) runtime.Object {
		made := &storagev1.StorageClass{
			ObjectMeta:        metav1.ObjectMeta{Name: name},
			Provisioner:       contract.StorageDriver,
			Parameters:        map[string]string{contract.ParameterRemoteClass: "ssd"},
			VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer),
		}
		for _, change := range changes {
			change(made)
		}
		return made
	}
	names := func(remote string) func(*storagev1.StorageClass) {
		return func(c *storagev1.StorageClass) { c.Parameters[contract.ParameterRemoteClass] = remote }
	}
	nodes := func(nodes ...string) func(*storagev1.StorageClass) {
		return func(c *storagev1.StorageClass) {
			c.AllowedTopologies = []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{
				{Key: contract.LabelNodeName, Values: nodes},
			}}}
		}
	}
	immediate := func(c *storagev1.StorageClass) { c.VolumeBindingMode = nil }
	growing := func(c *storagev1.StorageClass) { c.AllowVolumeExpansion = new(true) }
	ssd := []runtime.Object{&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "ssd"}, Provisioner: "csi.example.com"}}
	cases := map[string]struct {
		reason        string
		local, remote []runtime.Object
		level         Level
		found, fix    string
	}{
		"Well": {reason: "as installed", local: []runtime.Object{class("standard")}, remote: ssd, level: LevelOK,
			found: "standard: remote class ssd (Immediate, no expansion)"},
		"None": {reason: "the node cannot be chosen", local: []runtime.Object{class("theirs", nodes("vk-b"))}, remote: ssd, level: LevelWarning,
			found: "there is none", fix: install + "--storage=claims --remote-context=there"},
		"Without parameter": {reason: "somebody wrote it", local: []runtime.Object{class("own", names(""))}, remote: ssd, level: LevelFailed,
			found: "own: it has no parameter actual.vk/remote-class",
			fix:   "delete it, and have install make it: " + install + "--storage=claims --remote-context=there"},
		"Not allowed": {reason: "the policy admits others only", local: []runtime.Object{class("fast", names("nvme"))},
			remote: ssd, level: LevelFailed,
			found: "fast: it names the remote class nvme, which the node was not installed with",
			fix:   install + "--storage-class=nvme --remote-context=there"},
		"Gone remotely": {reason: "the provider removed it", local: []runtime.Object{class("standard")}, level: LevelFailed,
			found: "which the remote cluster does not have",
			fix:   "make one, or delete the local one; what there is: kubectl get storageclasses --context=there"},
		"Immediate for one": {reason: "akd knows the node", local: []runtime.Object{class("now", immediate, nodes("vk"))},
			remote: ssd, level: LevelOK,
			found: "now: remote class ssd"},
		"Immediate for many": {reason: "no node is selected", local: []runtime.Object{class("now", immediate, nodes("vk", "vk-b"))}, remote: ssd,
			level: LevelFailed, found: "now: its volumeBindingMode is Immediate",
			fix: "replace it by one with volumeBindingMode WaitForFirstConsumer, or with the node alone in allowedTopologies"},
		"Expansion": {reason: "the remote class does not grow", local: []runtime.Object{class("standard", growing)},
			remote: ssd, level: LevelWarning,
			found: "it allows expansion, and the remote class ssd does not",
			fix:   `kubectl patch storageclass standard -p '{"allowVolumeExpansion":false}'`},
		"The worst": {
			reason: "a failure comes before a warning",
			local:  []runtime.Object{class("a", growing), class("b", names("nvme"))},
			remote: ssd,
			level:  LevelFailed,
			found:  "b: it names",
			fix:    install + "--storage-class=nvme --remote-context=there",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(t, tc.reason, storageClasses(t.Context(), storing(tc.local, tc.remote)), tc.level, tc.found, tc.fix)
		})
	}
	expect(t, "storage is off", storageClasses(t.Context(), subject(nil, nil)), LevelSkipped, "storage.mode: none", "")
}

func TestVolumes(t *testing.T) {
	t.Parallel()
	owner := contract.Owner{Node: "vk", ClusterUID: "here"}
	namespace := contract.RemoteNamespace("vk", "shop")
	remote := []runtime.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: owner.NamespaceLabels("shop")}},
		&corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{
				Namespace:   namespace,
				Name:        "pvc-1",
				UID:         "r1",
				Labels:      owner.Labels("shop", "1"),
				Annotations: map[string]string{contract.AnnotationClaim: "data", contract.AnnotationVolume: "pv"},
			},
			Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
		},
	}
	local := volume.New(volume.Spec{
		Node:     "vk",
		Remote:   volume.Remote{Namespace: namespace, Claim: "pvc-1", UID: "r1", ClusterUID: "there"},
		Claim:    volume.Claim{Namespace: "shop", Name: "data", UID: "1"},
		Capacity: resource.MustParse("1Gi"),
	})
	local.Status.Phase = corev1.VolumeBound
	handle := namespace + "/pvc-1"

	well := storing([]runtime.Object{local}, remote)
	expect(t, "as it should be", volumes(t.Context(), well), LevelOK, "1 bound", "")
	expect(t, "as it should be", orphanedVolumes(t.Context(), well), LevelOK, "1 bound", "")
	lost := storing([]runtime.Object{local}, remote[:1])
	expect(t, "the remote claim was deleted", volumes(t.Context(), lost), LevelFailed,
		"shop/data is lost: the remote claim "+handle+" (UID r1) is gone; akd makes no empty volume in its place",
		"if the remote claim was restored under the same name: kubectl actual volumes adopt pvc-1 --remote-context=there\n"+
			"to give it up: kubectl delete pvc data -n shop")
	orphan := storing(nil, remote)
	expect(t, "the PersistentVolume was deleted", orphanedVolumes(t.Context(), orphan), LevelWarning, "shop/data is an orphan",
		"to use it again: kubectl actual volumes import "+handle+" --remote-context=there\n"+
			"to delete its data: kubectl actual volumes delete "+handle+" --remote-context=there")
	expect(t, "an orphan is not lost", volumes(t.Context(), orphan), LevelOK, "1 orphan", "")
	off := subject([]runtime.Object{local}, remote)
	expect(t, "storage was switched off", volumes(t.Context(), off), LevelWarning, "the node has volumes (1 bound), and akd is configured",
		"kubectl actual install vk --storage=claims --remote-context=there")
	expect(t, "nothing to see", volumes(t.Context(), subject(nil, nil)), LevelSkipped, "storage.mode: none", "")
}
