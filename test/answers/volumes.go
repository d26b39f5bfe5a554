package answers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// class is that of claims and volumes. It does not exist, so that nobody provides them.
const class = "ak-answers"

// hold is a finalizer with which claims and volumes stay until it is taken off.
const hold = "example.org/hold"

// writeClaim makes a request that is answered with a claim.
func (p *player) writeClaim(ctx context.Context, verb, name string, rest []string) (string, error) {
	claims := p.client.CoreV1().PersistentVolumeClaims(Namespace)
	switch verb {
	case "create":
		created, err := claims.Create(ctx, claim(name, slices.Contains(rest, "finalizer")), metav1.CreateOptions{})
		return p.describe("claims", created, err)
	case "get":
		found, err := claims.Get(ctx, name, metav1.GetOptions{})
		return p.describe("claims", found, err)
	case "patch":
		patched, err := claims.Patch(ctx, name, types.StrategicMergePatchType, []byte(rest[0]), metav1.PatchOptions{}, rest[1:]...)
		return p.describe("claims", patched, err)
	}
	return "", fmt.Errorf("unknown request %q of claims", verb)
}

// writeVolume makes a request that is answered with a volume.
func (p *player) writeVolume(ctx context.Context, verb, name string, rest []string) (string, error) {
	volumes := p.client.CoreV1().PersistentVolumes()
	switch verb {
	case "create":
		created, err := volumes.Create(ctx, volume(name, slices.Contains(rest, "finalizer")), metav1.CreateOptions{})
		return p.describe("volumes", created, err)
	case "get":
		found, err := volumes.Get(ctx, name, metav1.GetOptions{})
		return p.describe("volumes", found, err)
	case "patch":
		patched, err := volumes.Patch(ctx, name, types.StrategicMergePatchType, []byte(rest[0]), metav1.PatchOptions{}, rest[1:]...)
		return p.describe("volumes", patched, err)
	}
	return "", fmt.Errorf("unknown request %q of volumes", verb)
}

func claim(name string, finalizer bool) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: new(class),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: storage()},
		},
	}
	if finalizer {
		claim.Finalizers = []string{hold}
	}
	return claim
}

// volume returns one that no claim gets, and no machine can mount.
func volume(name string, finalizer bool) *corev1.PersistentVolume {
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              class,
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Capacity:                      storage(),
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "node", Operator: corev1.NodeSelectorOpIn, Values: []string{Node}}},
			}}}},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: "nobody.example.org", VolumeHandle: name},
			},
		},
	}
	if finalizer {
		volume.Finalizers = []string{hold}
	}
	return volume
}

func storage() corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
}

// isStored reports whether an object is a claim or a volume. A controller takes its own
// finalizer off those that are deleted, at any time.
func isStored(object metav1.Object) bool {
	switch object.(type) {
	case *corev1.PersistentVolumeClaim, *corev1.PersistentVolume:
		return true
	}
	return false
}

func describeClaim(claim *corev1.PersistentVolumeClaim) string {
	requested, capacity := claim.Spec.Resources.Requests[corev1.ResourceStorage], claim.Status.Capacity[corev1.ResourceStorage]
	return fmt.Sprintf(", %s, %s of %s%s", claim.Status.Phase, capacity.String(), requested.String(), protection(claim))
}

func describeVolume(volume *corev1.PersistentVolume) string {
	capacity := volume.Spec.Capacity[corev1.ResourceStorage]
	return fmt.Sprintf(", %s%s", capacity.String(), protection(volume))
}

// protection describes the finalizers of what is not deleted.
func protection(object metav1.Object) string {
	if object.GetDeletionTimestamp() != nil || len(object.GetFinalizers()) == 0 {
		return ""
	}
	return ", finalizers " + strings.Join(slices.Sorted(slices.Values(object.GetFinalizers())), " ")
}
