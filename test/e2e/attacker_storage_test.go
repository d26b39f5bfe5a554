//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/attacks"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

func storing(node string) manifests.Values {
	return manifests.Values{Node: node, Storage: manifests.Storage{Enabled: true, Classes: []string{attacks.StorageClass}}}
}

// mustRefuse demands that a policy, or the API server itself, has refused an attack.
func mustRefuse(t *testing.T, err error, wants string) {
	t.Helper()
	switch {
	case err == nil:
		t.Error("it succeeded")
	case !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), wants):
		t.Errorf("it was refused for another reason: %v\nwant 403 with %q", err, wants)
	}
}

// difference is the patch that makes one object another one.
func difference[Object any](t *testing.T, from, to *Object) []byte {
	t.Helper()
	before, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	after, err := json.Marshal(to)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, from)
	if err != nil {
		t.Fatal(err)
	}
	return patch
}

// With a stolen remote credential of a node with storage, claims are new volumes of the
// installed classes. A claim without a class took any free volume of the remote cluster.
func TestAttackerStorage(t *testing.T) {
	e := shared
	attacker, attacked := e.InstallTenant(t, storing(thief)), e.InstallTenant(t, storing(victim))
	own := attacker.Settle(t, "home", contract.TenantStorageRole)
	foreign := attacked.Settle(t, "home", contract.TenantStorageRole)
	client := attacker.Client.CoreV1().PersistentVolumeClaims(own)
	env.Eventually(t, "the policy is in force", func(ctx context.Context) error {
		mine := attacks.Claim(attacker.Owner, "home")
		mine.Spec.StorageClassName = new("")
		_, err := client.Create(ctx, mine, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if !apierrors.IsForbidden(err) {
			return fmt.Errorf("a claim without a class: %w", err)
		}
		return nil
	})
	for name, attack := range attacks.Claims() {
		t.Run("create "+name, func(t *testing.T) {
			claim := attacks.Claim(attacker.Owner, "home")
			attack.Change(claim)
			_, err := client.Create(t.Context(), claim, metav1.CreateOptions{})
			mustRefuse(t, err, attack.Wants)
		})
	}
	t.Run("in the victim's namespace", func(t *testing.T) {
		claim := attacks.Claim(attacked.Owner, "home")
		_, err := attacker.Client.CoreV1().PersistentVolumeClaims(foreign).Create(t.Context(), claim, metav1.CreateOptions{})
		mustRefuse(t, err, `cannot create resource "persistentvolumeclaims"`)
	})
	t.Run("volumes of the cluster", func(t *testing.T) {
		_, err := attacker.Client.CoreV1().PersistentVolumes().List(t.Context(), metav1.ListOptions{})
		mustRefuse(t, err, `cannot list resource "persistentvolumes"`)
	})
	t.Run("another class", func(t *testing.T) {
		_, err := attacker.Client.StorageV1().StorageClasses().Get(t.Context(), "fast", metav1.GetOptions{})
		mustRefuse(t, err, `cannot get resource "storageclasses"`)
	})

	made, err := client.Create(t.Context(), attacks.Claim(attacker.Owner, "home"), metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("akd's own claim: %v", err)
	}
	// As others leave it: what they write must stay, and must not keep akd from its own.
	admin := e.Remote.CoreV1().PersistentVolumeClaims(own)
	left := made.DeepCopy()
	left.Finalizers = append(left.Finalizers, "example.com/cloning")
	left.Labels["example.com/team"] = "storage"
	left.Annotations["pv.kubernetes.io/bind-completed"], left.Annotations["volume.kubernetes.io/selected-node"] = "yes", "nowhere"
	made, err = admin.Patch(t.Context(), made.Name, types.StrategicMergePatchType, difference(t, made, left), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		patch := []byte(`{"metadata":{"finalizers":null}}`)
		if _, err := admin.Patch(context.Background(), made.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Error(err)
		}
	})
	for name, attack := range attacks.ClaimUpdates() {
		t.Run("update "+name, func(t *testing.T) {
			claim := made.DeepCopy()
			attack.Change(claim)
			patch := difference(t, made, claim)
			if string(patch) == "{}" { // what it changes is not there: nobody has bound the claim
				return
			}
			before, err := admin.Get(t.Context(), made.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			after, err := client.Patch(t.Context(), made.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			switch {
			case apierrors.IsInvalid(err): // the API server itself does not allow it
				return
			case err == nil && after.ResourceVersion == before.ResourceVersion: // others have done it
				return
			}
			mustRefuse(t, err, attack.Wants)
		})
	}
	committed := made.DeepCopy()
	committed.Annotations[contract.AnnotationVolume] = "uid-of-the-volume"
	patch := difference(t, made, committed)
	if _, err := client.Patch(t.Context(), made.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Errorf("akd's own mark: %v", err)
	}
}

// With a stolen local credential of a node with storage, volumes are those of the node, which
// no machine can mount: one of kind hostPath is root on real nodes.
func TestLocalStorageAttacker(t *testing.T) {
	e := shared
	installed := e.InstallNode(t, storing(thief), time.Hour)
	namespace := e.Namespace(t, "attacked")
	own := kubernetes.NewForConfigOrDie(installed.Config)
	volumes := own.CoreV1().PersistentVolumes()
	innocent := attacks.Volume(thief, namespace)
	env.Eventually(t, "the policy is in force", func(ctx context.Context) error {
		other := attacks.Volume(victim, namespace)
		_, err := volumes.Create(ctx, other, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), contract.PolicyVolumes) {
			return fmt.Errorf("a volume of another node: %w", err)
		}
		return nil
	})
	for name, attack := range attacks.Volumes(thief, victim) {
		t.Run("create "+name, func(t *testing.T) {
			volume := innocent.DeepCopy()
			attack.Change(volume)
			_, err := volumes.Create(t.Context(), volume, metav1.CreateOptions{})
			mustRefuse(t, err, attack.Wants)
		})
	}
	made, err := volumes.Create(t.Context(), innocent.DeepCopy(), metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("akd's own volume: %v", err)
	}
	for name, attack := range attacks.VolumeUpdates() {
		t.Run("update "+name, func(t *testing.T) {
			volume := made.DeepCopy()
			attack.Change(volume)
			_, err := volumes.Patch(t.Context(), made.Name, types.StrategicMergePatchType, difference(t, made, volume), metav1.PatchOptions{})
			mustRefuse(t, err, attack.Wants)
		})
	}
	t.Run("of others", func(t *testing.T) { attackForeignVolumes(t, own, namespace) })
	t.Run("claims", func(t *testing.T) { attackClaims(t, own, namespace) })

	grown := made.DeepCopy()
	grown.Finalizers = []string{"kubernetes.io/pv-protection"}
	patch := difference(t, made, grown)
	if _, err := volumes.Patch(t.Context(), made.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Errorf("take akd's own finalizer off: %v", err)
	}
	env.Eventually(t, "the volume, whose claim does not exist, is deleted", func(ctx context.Context) error {
		err := volumes.Delete(ctx, made.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(made.UID))})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there: %w", err)
	})
}

// attackForeignVolumes tries to change and to delete volumes that the node did not make.
func attackForeignVolumes(t *testing.T, own kubernetes.Interface, namespace string) {
	t.Helper()
	directory := attacks.Volume(thief, namespace)
	directory.Name, directory.Finalizers, directory.Spec.ClaimRef, directory.Spec.NodeAffinity = "attacked-directory", nil, nil, nil
	directory.Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/none"}}
	directory.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	others := attacks.Volume(victim, namespace)
	others.Name, others.Finalizers, others.Spec.ClaimRef = "attacked-others", nil, nil
	for _, volume := range []*corev1.PersistentVolume{directory, others} {
		if _, err := shared.Local.CoreV1().PersistentVolumes().Create(t.Context(), volume, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			err := shared.Local.CoreV1().PersistentVolumes().Delete(context.Background(), volume.Name, metav1.DeleteOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				t.Error(err)
			}
		})
		const wants = "may write volumes of its own node only"
		patch := []byte(`{"spec":{"capacity":{"storage":"9Gi"}}}`)
		_, err := own.CoreV1().PersistentVolumes().Patch(t.Context(), volume.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		mustRefuse(t, err, wants)
		mustRefuse(t, own.CoreV1().PersistentVolumes().Delete(t.Context(), volume.Name, metav1.DeleteOptions{}), wants)
	}
}

// attackClaims tries to say of claims what akd has no say in.
func attackClaims(t *testing.T, own kubernetes.Interface, namespace string) {
	t.Helper()
	admin := shared.Local.CoreV1().PersistentVolumeClaims(namespace)
	mine, err := admin.Create(t.Context(), attacks.LocalClaim(thief, namespace), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mine.Status.Conditions = attacks.LocalClaim(thief, namespace).Status.Conditions
	if mine, err = admin.UpdateStatus(t.Context(), mine, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	client := own.CoreV1().PersistentVolumeClaims(namespace)
	try := func(name string, changed *corev1.PersistentVolumeClaim, subresources ...string) error {
		patch := difference(t, mine, changed)
		_, err := client.Patch(t.Context(), name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, subresources...)
		return err
	}
	for name, attack := range attacks.ClaimStatuses() {
		t.Run(name, func(t *testing.T) {
			changed := mine.DeepCopy()
			attack.Change(changed)
			mustRefuse(t, try(mine.Name, changed, "status"), attack.Wants)
		})
	}
	grown := mine.DeepCopy()
	grown.Status.Conditions = append(grown.Status.Conditions, corev1.PersistentVolumeClaimCondition{
		Type: contract.ConditionRemoteBound, Status: corev1.ConditionTrue, Reason: "Bound",
	})
	mustRefuse(t, try(mine.Name, grown), `cannot patch resource "persistentvolumeclaims"`)
	if err := try(mine.Name, grown, "status"); err != nil {
		t.Errorf("akd's own condition: %v", err)
	}
	for name, annotations := range map[string]map[string]string{
		"foreign-driver": {"volume.kubernetes.io/storage-provisioner": "csi.example.com"},
		"foreign-node": {
			"volume.kubernetes.io/storage-provisioner": contract.StorageDriver, "volume.kubernetes.io/selected-node": victim,
		},
	} {
		foreign := attacks.LocalClaim(thief, namespace)
		foreign.Name, foreign.Annotations = name, annotations
		if _, err := admin.Create(t.Context(), foreign, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, try(name, grown, "status"), "only whose volume is provisioned by actual.vk on its own node")
	}
}
