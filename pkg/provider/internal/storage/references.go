package storage

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// reference is by what a claim, a volume or a pod is looked for. A namespace can have
// thousands of each.
type reference struct {
	kind            referenceKind
	namespace, name string
}

type referenceKind uint8

const (
	withUID   referenceKind = iota // the claim with a UID
	ofVolume                       // claims that name a volume
	cloneOf                        // claims without a volume that begin with the data of a claim
	ofClass                        // claims without a volume of a class
	inLocal                        // volumes for claims of a local namespace
	inRemote                       // volumes for no claim, with data in a remote namespace
	usesClaim                      // pods that use a claim
)

// referencesOf returns by what a claim is found.
func referencesOf(claim *corev1.PersistentVolumeClaim) []reference {
	found := []reference{{withUID, claim.Namespace, string(claim.UID)}}
	if name := claim.Spec.VolumeName; name != "" {
		return append(found, reference{ofVolume, claim.Namespace, name})
	}
	if source := translate.CloneOf(claim); source != "" {
		found = append(found, reference{cloneOf, claim.Namespace, source})
	}
	if class := claim.Spec.StorageClassName; class != nil {
		found = append(found, reference{ofClass, "", *class})
	}
	return found
}

// placesOf returns by what a volume is found; see Volumes.namespaceOf.
func placesOf(one *corev1.PersistentVolume) []reference {
	if ref := one.Spec.ClaimRef; ref != nil && ref.Namespace != "" {
		return []reference{{inLocal, ref.Namespace, ""}}
	}
	_, source, ours := volume.Of(one)
	if !ours {
		return nil
	}
	return []reference{{inRemote, source.Namespace, ""}}
}

// claimsUsedBy returns by what a pod is found.
func claimsUsedBy(pod *corev1.Pod) []reference {
	var found []reference
	for _, name := range translate.ClaimNames(pod) {
		found = append(found, reference{usesClaim, pod.Namespace, name})
	}
	return found
}
