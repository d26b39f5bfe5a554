package scenario

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
)

// importClaim does what kubectl actual volumes import does with the remote claim of a local
// one's name, and creates the local claim that it prints: without the annotation, if somebody
// else has written it.
func (s *scenario) importClaim(namespace, name string, annotated bool) error {
	for _, remote := range s.claimsNamed(s.remote, contract.RemoteNamespace(Node, namespace), name) {
		claim := volume.Claim{Namespace: namespace, Name: name}
		switch found := s.local.claimNamed(namespace, name); {
		case remote.DeletionTimestamp != nil || remote.Annotations[contract.AnnotationClaim] != name:
			continue
		case found != nil && found.Spec.VolumeName != remote.Name:
			continue
		case found != nil:
			claim.UID = found.UID
		}
		of := s.offer(remote, claim)
		if of == nil {
			continue
		}
		metav1.SetMetaDataAnnotation(&remote.ObjectMeta, contract.AnnotationVolume, string(of.UID))
		s.remote.putClaim(remote)
		if claim.UID == "" {
			return s.local.add(claimFor(of, annotated))
		}
		return nil
	}
	return nil
}

// offer makes the volume of a remote claim available to a local one, or makes it. It returns
// nil if the volume is used, or is another one.
func (s *scenario) offer(remote *corev1.PersistentVolumeClaim, claim volume.Claim) *corev1.PersistentVolume {
	of := s.local.volumeNamed(remote.Name)
	if of == nil {
		of = volume.New(volume.Spec{
			Node: Node,
			Remote: volume.Remote{
				Namespace: remote.Namespace, Claim: remote.Name, UID: remote.UID, ClusterUID: s.next.cluster,
			},
			Claim: claim, Class: "keep", AccessModes: remote.Spec.AccessModes, Mode: remote.Spec.VolumeMode,
			Capacity: volume.Size(remote),
		})
		if s.local.add(of) != nil {
			return nil
		}
		return s.local.volumeNamed(of.Name)
	}
	ref := of.Spec.ClaimRef
	_, source, _ := volume.Of(of)
	switch {
	case source.Namespace != remote.Namespace || source.ClusterUID != s.next.cluster || volume.Adopted(of) != remote.UID,
		of.DeletionTimestamp != nil || of.Status.Phase == corev1.VolumeBound,
		of.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete && ref != nil && ref.UID != "",
		ref != nil && ref.UID != "" && of.Status.Phase != corev1.VolumeReleased:
		return nil
	}
	of.Spec.ClaimRef = volume.New(volume.Spec{Claim: claim}).Spec.ClaimRef
	s.local.putVolume(of)
	return s.local.volumeNamed(of.Name)
}

// claimFor returns the claim that the command prints.
func claimFor(of *corev1.PersistentVolume, annotated bool) *corev1.PersistentVolumeClaim {
	capacity := of.Spec.Capacity[corev1.ResourceStorage]
	claim := newClaim(of.Spec.ClaimRef.Namespace, of.Spec.ClaimRef.Name, []string{"class=" + of.Spec.StorageClassName})
	claim.Spec.VolumeName, claim.Spec.AccessModes, claim.Spec.VolumeMode = of.Name, of.Spec.AccessModes, of.Spec.VolumeMode
	claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(capacity.String())}
	if annotated {
		claim.Annotations = map[string]string{provisioner: contract.StorageDriver}
	}
	return claim
}
