package install

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	nodeutil "k8s.io/component-helpers/node/util"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// awaitAKD waits until the rollout of akd has ended and a replica is available:
// one is enough for the node.
func (i *installer) awaitAKD(ctx context.Context) error {
	node, replicas := i.options.node, i.options.replicas
	return kubeclient.Until(ctx, func(ctx context.Context) (bool, string, error) {
		akd, err := i.host.Client.AppsV1().Deployments(contract.SystemNamespace).Get(ctx, node, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		status := akd.Status
		if status.ObservedGeneration >= akd.Generation && status.UpdatedReplicas == replicas &&
			status.Replicas == replicas && status.AvailableReplicas >= 1 {
			return true, "", nil
		}
		return false, i.host.AKDProblem(ctx, node), nil
	})
}

// awaitNode waits for the node, and approves the request for its certificate.
func (i *installer) awaitNode(ctx context.Context) error {
	local := i.both.Local.Client
	return kubeclient.Until(ctx, func(ctx context.Context) (bool, string, error) {
		node, err := local.CoreV1().Nodes().Get(ctx, i.options.node, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, "the node is not registered", nil
		}
		if err != nil {
			return false, "", err
		}
		pending, err := i.approve(ctx, node)
		if err != nil || pending != "" {
			return false, pending, err
		}
		_, ready := nodeutil.GetNodeCondition(&node.Status, corev1.NodeReady)
		if ready == nil {
			return false, "the node has no condition Ready", nil
		}
		return ready.Status == corev1.ConditionTrue, ready.Message, nil
	})
}

// probe runs a pod on the node, and deletes it.
func (i *installer) probe(ctx context.Context) (string, error) {
	pods := i.both.Local.Client.CoreV1().Pods(contract.SystemNamespace)
	pod, err := pods.Create(ctx, probePod(i.options.node, i.options.probeImage), metav1.CreateOptions{FieldManager: kubeclient.FieldManager})
	if err != nil {
		return "", fmt.Errorf("create the probe pod: %w", err)
	}
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), kubeclient.ConnectTimeout)
		defer cancel()
		_ = pods.Delete(after, pod.Name, kubeclient.Exactly(pod))
	}()
	var where string
	err = kubeclient.Until(ctx, func(ctx context.Context) (bool, string, error) {
		found, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		where = found.Annotations[contract.AnnotationRemoteNode]
		seen := []string{fmt.Sprintf("pod %s is %s", pod.Name, found.Status.Phase)}
		for _, condition := range found.Status.Conditions {
			if condition.Status == corev1.ConditionFalse && condition.Message != "" {
				seen = append(seen, condition.Message)
			}
		}
		return found.Status.Phase == corev1.PodRunning, strings.Join(seen, ": "), nil
	})
	if where != "" {
		where = "on remote node " + where
	}
	return where, err
}

func probePod(node, image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: node + "-probe-",
			Labels:       map[string]string{kubeclient.LabelManagedBy: kubeclient.FieldManager, contract.LabelNodeName: node},
		},
		Spec: corev1.PodSpec{
			NodeSelector:                  map[string]string{contract.LabelNode: "true", corev1.LabelHostname: node},
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			AutomountServiceAccountToken:  new(false),
			TerminationGracePeriodSeconds: new(int64(0)),
			SecurityContext:               kubeclient.RestrictedPod(),
			Containers: []corev1.Container{{
				Name:            "probe",
				Image:           image,
				SecurityContext: kubeclient.RestrictedContainer(),
			}},
		},
	}
}
