package provider

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// kind says what a key of the queue names.
type kind string

const (
	kindPod       kind = "pod"
	kindConfigMap kind = "configmap"
	kindSecret    kind = "secret"
	kindService   kind = "service"

	kindEndpointSlice kind = "endpointslice"
)

// key names, in local terms, what is to be reconciled.
type key struct {
	kind      kind
	namespace string
	name      string
}

// podRef is one pod of one cluster; the UID is what identifies it.
type podRef struct {
	namespace string
	name      string
	uid       types.UID
}

func refTo(pod *corev1.Pod) podRef {
	return podRef{namespace: pod.Namespace, name: pod.Name, uid: pod.UID}
}

// queue is what those who see changes need of the work queue.
type queue interface {
	Add(key)
	AddAfter(key, time.Duration)
}
