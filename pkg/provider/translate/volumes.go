package translate

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// refuse returns a *Refusal for a pod that cannot run in the remote cluster, or
// nil.
func (m *Mapper) refuse(local *corev1.Pod) error {
	if refusal := trimmedRefusal(local); refusal != nil {
		return refusal
	}
	if refusal := m.refuseRuntime(local); refusal != nil {
		return refusal
	}
	if refusal := m.refuseSelector(local); refusal != nil {
		return refusal
	}
	if len(local.Spec.ResourceClaims) > 0 {
		return &Refusal{ReasonUnsupportedResourceClaim, fmt.Sprintf(
			"Resource claim %q is allocated in the local cluster and cannot be used in the remote cluster: remove it, "+
				"or run the pod on another node.",
			local.Spec.ResourceClaims[0].Name)}
	}
	for i := range local.Spec.Volumes {
		if why := m.unsupported(&local.Spec.Volumes[i].VolumeSource); why != "" {
			return &Refusal{ReasonUnsupportedVolume, fmt.Sprintf("Volume %q %s.", local.Spec.Volumes[i].Name, why)}
		}
	}
	// A pod could read another pod's tokens through a name of ours.
	needs := collect(local)
	if refusal := needs.reserved(); refusal != nil {
		return refusal
	}
	if refusal := m.exceeded(needs); refusal != nil {
		return refusal
	}
	return nil
}

// unsupported returns the rest of a sentence that begins with "Volume X" if the
// remote cluster cannot provide such a volume.
func (m *Mapper) unsupported(source *corev1.VolumeSource) string {
	switch {
	case source.PersistentVolumeClaim != nil && !m.Storage:
		return fmt.Sprintf("uses PersistentVolumeClaim %q, and this node was installed without storage: "+
			"kubectl actual install %s --storage=claims, use another volume type, or run the pod on another node",
			source.PersistentVolumeClaim.ClaimName, m.Node)
	case source.Ephemeral != nil && !m.Storage:
		return fmt.Sprintf("is a generic ephemeral volume, and this node was installed without storage: "+
			"kubectl actual install %s --storage=claims, use emptyDir, or run the pod on another node", m.Node)
	case source.Glusterfs != nil:
		return fmt.Sprintf("uses Endpoints %q, which are in the local cluster: use another volume type, or run the pod on another node",
			source.Glusterfs.EndpointsName)
	}
	return ""
}

// translateVolumes changes the volumes in place: they belong to a copy of the
// local pod.
func (m *Mapper) translateVolumes(volumes []corev1.Volume, local *corev1.Pod) {
	for i := range volumes {
		volume := &volumes[i]
		switch {
		case volume.DownwardAPI != nil:
			m.translateFiles(volume.DownwardAPI.Items, local)
		case volume.Projected != nil:
			m.translateProjected(volume, local)
		case volume.StorageOS != nil && volume.StorageOS.VolumeNamespace == "":
			volume.StorageOS.VolumeNamespace = local.Namespace
		}
	}
}

func (m *Mapper) translateProjected(volume *corev1.Volume, local *corev1.Pod) {
	for i := range volume.Projected.Sources {
		source := &volume.Projected.Sources[i]
		switch {
		case source.DownwardAPI != nil:
			m.translateFiles(source.DownwardAPI.Items, local)
		case source.ClusterTrustBundle != nil:
			from := source.ClusterTrustBundle
			source.ClusterTrustBundle = nil
			source.Secret = &corev1.SecretProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: contract.TokenSecretName(local.UID)},
				Items:                []corev1.KeyToPath{{Key: tokenKey(volume.Name, i), Path: from.Path, User: from.User}},
			}
		case source.PodCertificate != nil:
			from := source.PodCertificate
			source.PodCertificate = nil
			source.Secret = &corev1.SecretProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: contract.TokenSecretName(local.UID)},
				Items:                certificateFiles(tokenKey(volume.Name, i), from),
			}
		case source.ServiceAccountToken != nil:
			token := source.ServiceAccountToken
			source.ServiceAccountToken = nil
			source.Secret = &corev1.SecretProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: contract.TokenSecretName(local.UID)},
				Items: []corev1.KeyToPath{{
					Key: tokenKey(volume.Name, i), Path: token.Path, User: token.User, Mode: tokenMode(&local.Spec, volume.Projected.DefaultMode),
				}},
			}
		}
	}
}

// tokenMode returns the mode of a token's file, or nil for that of the volume. If
// all containers run as the same user, a kubelet makes that user the owner of the
// file. Files of a Secret belong to root, so others must be able to read them
// instead. With an fsGroup, the group can read both.
// https://github.com/kubernetes/kubernetes/blob/v1.37.1/pkg/volume/projected/projected.go (collectData)
func tokenMode(spec *corev1.PodSpec, volume *int32) *int32 {
	const readable, readableByOthers = int32(0o444), int32(0o004)
	grouped := spec.SecurityContext != nil && spec.SecurityContext.FSGroup != nil
	if volume == nil || *volume&readableByOthers != 0 || grouped || !oneUser(spec) {
		return nil
	}
	return new(readable)
}

// oneUser reports whether all containers run as the same user, other than root.
func oneUser(spec *corev1.PodSpec) bool {
	var user *int64
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			runs := runAsUser(spec, &containers[i])
			if runs == nil || user != nil && *user != *runs {
				return false
			}
			user = runs
		}
	}
	return user != nil && *user != 0
}

func runAsUser(spec *corev1.PodSpec, container *corev1.Container) *int64 {
	switch {
	case container.SecurityContext != nil && container.SecurityContext.RunAsUser != nil:
		return container.SecurityContext.RunAsUser
	case spec.SecurityContext != nil:
		return spec.SecurityContext.RunAsUser
	}
	return nil
}

// tokenKey returns the key of a projected token, or of a bundle of trust
// anchors, in the pod's token Secret.
func tokenKey(volume string, source int) string { return volume + "." + strconv.Itoa(source) }

// translateFiles refers to the labels and annotations of the remote pod that hold the
// local values. No other field that files of the downward API can show differs between
// the clusters.
func (m *Mapper) translateFiles(files []corev1.DownwardAPIVolumeFile, local *corev1.Pod) {
	for i := range files {
		ref := files[i].FieldRef
		if ref == nil {
			continue
		}
		switch ref.FieldPath {
		case "metadata.namespace":
			ref.FieldPath = labelsPath + "['" + contract.LabelNamespace + "']"
		case "metadata.uid":
			ref.FieldPath = labelsPath + "['" + contract.LabelUID + "']"
		default:
			if annotation, _, ok := m.shown(ref.FieldPath, local); ok {
				ref.FieldPath = annotationsPath + "['" + annotation + "']"
			}
		}
	}
}
