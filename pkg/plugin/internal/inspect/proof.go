package inspect

import (
	"regexp"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// uid is what API servers give objects.
var uid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// ReasonNotProved is the reason of a location that the pod's annotations claim and
// that akd cannot have written.
const ReasonNotProved = "AnnotationsNotProved"

// claim is what the annotations of a pod say of its remote pod. akd writes them,
// but so can the pod's owner, and a restored backup has those of another time or
// cluster: only what can be derived from the node and the namespace is believed.
type claim struct {
	namespace, node, uid string
	// refused names the annotation that cannot be akd's, or is "".
	refused string
}

func claimOf(pod *corev1.Pod) claim {
	c := claim{
		namespace: pod.Annotations[contract.AnnotationRemoteNamespace],
		node:      pod.Annotations[contract.AnnotationRemoteNode],
		uid:       pod.Annotations[contract.AnnotationRemoteUID],
	}
	switch {
	case c.namespace != "" && !contract.IsRemoteNamespace(c.namespace, pod.Spec.NodeName, pod.Namespace):
		return claim{refused: contract.AnnotationRemoteNamespace}
	case c.node != "" && len(validation.IsDNS1123Subdomain(c.node)) > 0:
		return claim{refused: contract.AnnotationRemoteNode}
	case c.uid != "" && !uid.MatchString(c.uid):
		return claim{refused: contract.AnnotationRemoteUID}
	}
	return c
}
