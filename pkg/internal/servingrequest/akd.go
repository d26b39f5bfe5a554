package servingrequest

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Addresses returns those of akd's own pods among pods with akd's labels. The kubelets
// under them write these addresses.
func Addresses(pods []corev1.Pod, node string) []string {
	var addresses []string
	for p := range pods {
		if !isAKD(&pods[p], node) {
			continue
		}
		for _, ip := range pods[p].Status.PodIPs {
			addresses = append(addresses, ip.IP)
		}
	}
	return addresses
}

// isAKD reports whether a pod with akd's labels is one. The identity of a node, which
// akd has, can create mirror pods with any labels on itself, and write any address
// into the status of its own pods.
// https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
func isAKD(pod *corev1.Pod, node string) bool {
	owner := metav1.GetControllerOf(pod)
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	return owner != nil && owner.Kind == "ReplicaSet" && !mirror && !ended &&
		pod.Spec.NodeName != node && pod.Spec.ServiceAccountName == node
}
