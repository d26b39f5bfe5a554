package kubeclient

import (
	"context"
	"fmt"
	"net"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Labels of all that kubectl actual makes.
const (
	LabelManagedBy = "app.kubernetes.io/managed-by" // FieldManager
	LabelPartOf    = "app.kubernetes.io/part-of"    // PartOf
	PartOf         = "actual-kubelets"
)

// AKDPods selects the pods of a node's akd.
func AKDPods(node string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=akd," + contract.LabelNodeName + "=" + node}
}

// AccountUser is the user that a node's akd is in a cluster, before it acts as
// the node.
func AccountUser(node string) string {
	return "system:serviceaccount:" + contract.SystemNamespace + ":" + node
}

// AKDProblem says why the pod of a node's akd does not run, as far as the pod
// says so itself.
func (c *Cluster) AKDProblem(ctx context.Context, node string) string {
	pods, err := c.Client.CoreV1().Pods(contract.SystemNamespace).List(ctx, AKDPods(node))
	if err != nil || len(pods.Items) == 0 {
		return "akd has no pod"
	}
	pod := &pods.Items[0]
	for _, container := range pod.Status.ContainerStatuses {
		if waiting := container.State.Waiting; waiting != nil && waiting.Reason != "ContainerCreating" {
			return fmt.Sprintf("pod %s: %s: %s", pod.Name, waiting.Reason, waiting.Message)
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Status == corev1.ConditionFalse && condition.Message != "" {
			return fmt.Sprintf("pod %s: %s", pod.Name, condition.Message)
		}
	}
	return "pod " + pod.Name + " is starting"
}

// AsAKD returns a client that acts as the akd of a node, with a connection of its
// own: what balances the load may lead it to another API server than the last one.
// RefusalOf tells by what akd is refused.
func (c *Cluster) AsAKD(node string) (kubernetes.Interface, error) {
	config := rest.CopyConfig(c.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: AccountUser(node)}
	if config.Dial == nil {
		config.Dial = (&net.Dialer{Timeout: ConnectTimeout}).DialContext
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("%s cluster: act as akd: %w", c.Side, err)
	}
	return client, nil
}

// RestrictedPod and RestrictedContainer are what Pod Security level restricted
// requires of a pod and its containers.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
func RestrictedPod() *corev1.PodSecurityContext {
	return &corev1.PodSecurityContext{
		RunAsNonRoot:   new(true),
		RunAsUser:      new(int64(65532)),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// RestrictedContainer is described with RestrictedPod.
func RestrictedContainer() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}
