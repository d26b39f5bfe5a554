package translate

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Displaced are the local objects whose copies have reserved names, because the
// remote namespace has an object of their own name that akd did not make: add-ons put
// objects such as istio-ca-root-cert into every namespace of each cluster.
type Displaced struct {
	ConfigMaps map[string]bool
	Secrets    map[string]bool
}

// references visits the names of the ConfigMaps and Secrets that parts of a pod
// refer to. The functions may change the names.
type references struct {
	configMap func(name *string)
	secret    func(name *string)
}

// rename returns references that give names of copies to a copy of a local pod.
func (d Displaced) rename() references {
	return references{
		configMap: func(name *string) {
			if *name == contract.RootCAConfigMap || d.ConfigMaps[*name] {
				*name = contract.ReservedName(*name)
			}
		},
		secret: func(name *string) {
			if d.Secrets[*name] {
				*name = contract.ReservedName(*name)
			}
		},
	}
}

// pod visits everything but ephemeral containers.
func (r references) pod(spec *corev1.PodSpec) {
	for i := range spec.ImagePullSecrets {
		r.secret(&spec.ImagePullSecrets[i].Name)
	}
	for i := range spec.Volumes {
		r.volume(&spec.Volumes[i])
	}
	for i := range spec.InitContainers {
		r.env(spec.InitContainers[i].Env, spec.InitContainers[i].EnvFrom)
	}
	for i := range spec.Containers {
		r.env(spec.Containers[i].Env, spec.Containers[i].EnvFrom)
	}
}

func (r references) volume(volume *corev1.Volume) {
	switch {
	case volume.ConfigMap != nil:
		r.configMap(&volume.ConfigMap.Name)
	case volume.Secret != nil:
		r.secret(&volume.Secret.SecretName)
	case volume.Projected != nil:
		r.projected(volume.Projected.Sources)
	case volume.CSI != nil:
		r.secretRef(volume.CSI.NodePublishSecretRef)
	case volume.AzureFile != nil:
		r.secret(&volume.AzureFile.SecretName)
	case volume.CephFS != nil:
		r.secretRef(volume.CephFS.SecretRef)
	case volume.Cinder != nil:
		r.secretRef(volume.Cinder.SecretRef)
	case volume.FlexVolume != nil:
		r.secretRef(volume.FlexVolume.SecretRef)
	case volume.ISCSI != nil:
		r.secretRef(volume.ISCSI.SecretRef)
	case volume.RBD != nil:
		r.secretRef(volume.RBD.SecretRef)
	case volume.ScaleIO != nil:
		r.secretRef(volume.ScaleIO.SecretRef)
	case volume.StorageOS != nil:
		r.secretRef(volume.StorageOS.SecretRef)
	}
}

func (r references) projected(sources []corev1.VolumeProjection) {
	for i := range sources {
		switch source := &sources[i]; {
		case source.ConfigMap != nil:
			r.configMap(&source.ConfigMap.Name)
		case source.Secret != nil:
			r.secret(&source.Secret.Name)
		}
	}
}

func (r references) secretRef(ref *corev1.LocalObjectReference) {
	if ref != nil {
		r.secret(&ref.Name)
	}
}

// env visits what a container refers to.
func (r references) env(env []corev1.EnvVar, from []corev1.EnvFromSource) {
	for i := range env {
		switch source := env[i].ValueFrom; {
		case source == nil:
		case source.ConfigMapKeyRef != nil:
			r.configMap(&source.ConfigMapKeyRef.Name)
		case source.SecretKeyRef != nil:
			r.secret(&source.SecretKeyRef.Name)
		}
	}
	for i := range from {
		switch {
		case from[i].ConfigMapRef != nil:
			r.configMap(&from[i].ConfigMapRef.Name)
		case from[i].SecretRef != nil:
			r.secret(&from[i].SecretRef.Name)
		}
	}
}

// RefuseCopy returns why a local pod does not start: the ConfigMap or Secret of that
// local name has no copy, for the given reason. The remote names are for the
// administrator of the remote cluster.
func (s Site) RefuseCopy(local *corev1.Pod, kind, name string, err error) *Refusal {
	return &Refusal{ReasonReferenceNotCopied, fmt.Sprintf(
		"%s %q cannot be copied to remote namespace %s: %s. The pod starts once it is copied.",
		kind, name, s.name, s.LocalText(local, err.Error()))}
}
