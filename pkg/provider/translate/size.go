package translate

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

const (
	// maxSecretBytes is how much data an API server accepts in a Secret.
	// https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size
	maxSecretBytes = 1 << 20
	// maxPodBytes is the default of etcd's --max-request-bytes. An API server
	// answers a larger object with an error that looks temporary.
	maxPodBytes = 3 << 19
)

// SecretTooLarge returns a *Refusal if the API server would reject the Secret of
// a pod for its size, or nil. more is the size of what is not in it yet.
func SecretTooLarge(secret *corev1.Secret, more int) *Refusal {
	size := more
	for _, content := range secret.Data {
		size += len(content)
	}
	if size <= maxSecretBytes {
		return nil
	}
	return &Refusal{ReasonPodSecretTooLarge, fmt.Sprintf(
		"The tokens, trust bundles and certificates that the pod mounts have %d bytes, and a Secret holds %d: mount fewer of them.",
		size, maxSecretBytes)}
}

// podTooLarge returns a *Refusal if no API server would store the remote pod, or
// nil. It is larger than the local pod mostly by the variables of Services.
func podTooLarge(remote *corev1.Pod) *Refusal {
	size := remote.Size()
	if size <= maxPodBytes {
		return nil
	}
	return &Refusal{ReasonRemotePodTooLarge, fmt.Sprintf(
		"The remote pod has %d bytes, and an API server stores %d: use a smaller environment, or set enableServiceLinks: false "+
			"if the namespace has many Services.", size, maxPodBytes)}
}
