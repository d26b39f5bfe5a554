package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/cluster"
)

const probeName = "clusters-probe"

// prove checks that the cluster is usable: a pod starts, the cluster's DNS resolves
// the API server's Service, and the pod's log can be read through the kubelet.
func (l *Lab) prove(ctx context.Context, _ State, c cluster.Cluster) error {
	if len(c.Nodes) == 0 {
		return nil // simulated nodes run nothing that could be checked
	}
	client, err := l.Client(c.Name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	l.env.Report("%s: waiting for DNS", c.Name)
	if err := l.waitDNS(ctx, c, client); err != nil {
		return l.blame(c.Nodes[0].Component("kubelet"), err)
	}
	l.env.Report("%s: running a probe pod", c.Name)
	if err := l.runProbe(ctx, c, client); err != nil {
		return l.blame(c.Nodes[0].Component("kubelet"), fmt.Errorf("probe pod: %w", err))
	}
	return nil
}

func (l *Lab) waitDNS(ctx context.Context, c cluster.Cluster, client kubernetes.Interface) error {
	return poll(ctx, "DNS", func(ctx context.Context) (bool, error) {
		if err := l.died(l.components(c)...); err != nil {
			return false, err
		}
		deployment, err := client.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return deployment.Status.ReadyReplicas > 0, errors.New("no pod of Deployment kube-system/coredns is ready")
	})
}

func (l *Lab) runProbe(ctx context.Context, c cluster.Cluster, client kubernetes.Interface) error {
	pods := client.CoreV1().Pods(metav1.NamespaceDefault)
	now := metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}
	// Remove the probe of a run that was killed.
	if err := pods.Delete(ctx, probeName, now); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	state, _, err := l.Load()
	if err != nil {
		return err
	}
	// At first the default service account may not exist.
	err = poll(ctx, "the pod to be created", func(ctx context.Context) (bool, error) {
		_, err := pods.Create(ctx, probePod(state.Images.Busybox), metav1.CreateOptions{})
		return err == nil, err
	})
	if err != nil {
		return err
	}
	err = poll(ctx, "the pod to succeed", func(ctx context.Context) (bool, error) {
		if err := l.died(l.components(c)...); err != nil {
			return false, err
		}
		pod, err := pods.Get(ctx, probeName, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return pod.Status.Phase == corev1.PodSucceeded, podProblem(pod)
	})
	if err != nil {
		return err
	}
	log, err := pods.GetLogs(probeName, &corev1.PodLogOptions{}).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("read its log: %w", err)
	}
	if !strings.Contains(string(log), "Name:") {
		return fmt.Errorf("its log lacks the answer of the DNS server: %q", log)
	}
	return pods.Delete(ctx, probeName, now)
}

func podProblem(pod *corev1.Pod) error {
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Waiting != nil {
			return fmt.Errorf("%s: %s", status.State.Waiting.Reason, status.State.Waiting.Message)
		}
	}
	return fmt.Errorf("it is %s", pod.Status.Phase)
}

func probePod(image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: probeName},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			AutomountServiceAccountToken:  new(false),
			TerminationGracePeriodSeconds: ptr.To[int64](0),
			Tolerations:                   []corev1.Toleration{{Key: cluster.InfraTaint, Operator: corev1.TolerationOpExists}},
			// Of a run that is repeated: an akd may serve the only node without a taint.
			Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
					MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "actual.vk/node", Operator: corev1.NodeSelectorOpDoesNotExist}},
				}}},
			}},
			Containers: []corev1.Container{{
				Name:            "probe",
				Image:           image,
				ImagePullPolicy: corev1.PullNever,
				// kube-proxy may not know the DNS Service yet.
				Command: []string{"sh", "-c", "until nslookup kubernetes.default.svc.cluster.local; do sleep 0.2; done"},
			}},
		},
	}
}

// components returns the names of all processes that the cluster needs.
func (l *Lab) components(c cluster.Cluster) []string {
	names := []string{
		c.Component("etcd"), c.Component("kube-apiserver"),
		c.Component("kube-controller-manager"), c.Component("kube-scheduler"),
	}
	if c.Simulated {
		return append(names, c.Component("kwok"))
	}
	names = append(names, c.Component("forward"))
	if len(c.Nodes) > 0 {
		names = append(names, c.Component("kube-proxy"))
	}
	if c.LocalPath {
		names = append(names, c.Component(cluster.LocalPathProgram))
	}
	for _, node := range c.Nodes {
		names = append(names, node.Component("containerd"), node.Component("kubelet"))
	}
	return append(names, storageComponents(c)...)
}
