package check

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

const (
	// probeTimeout is how long the probe may take: its image may have to be pulled.
	probeTimeout = 90 * time.Second
	// connectTimeout is how long the probe pod tries to connect.
	connectTimeout = 5 * time.Second
	// cleanUpTimeout bounds the deletion of what the probe created.
	cleanUpTimeout = kubeclient.ConnectTimeout
	// probeName prefixes the names of the probe's pod and namespace.
	probeName = "actual-check-"
)

// remotePodsReachLocal runs a pod that connects to the local API server. It runs
// in a namespace of the node, if there is one, so that its network policies count.
func remotePodsReachLocal(ctx context.Context, s *Subject) Finding {
	if s.ProbeImage == "" {
		return skipped("--no-probe")
	}
	server, err := serverForPods(ctx, s)
	if err != nil {
		return failed("name it: "+s.installCommand("--local-server=HOST:PORT"), "%s", err)
	}
	namespace, cleanUp, err := probeNamespace(ctx, s)
	defer cleanUp()
	if err != nil {
		return unknown(err)
	}
	end, err := runProbe(ctx, s.Remote, namespace, probePod(s.ProbeImage, server))
	switch {
	case errors.Is(err, errNotAdmitted):
		return unknown(err)
	case err != nil:
		return warning("name an agnhost image that the remote nodes can pull with --probe-image, or skip the probe with --no-probe",
			"the probe pod did not finish: %s", err)
	case end.ExitCode != 0:
		return failed("allow pods of the remote cluster to connect to "+server+
			", or name an address that they can reach: "+s.installCommand("--local-server=HOST:PORT"),
			"a pod in remote namespace %s cannot connect to %s: %s", namespace, server, strings.TrimSpace(end.Message))
	default:
		return ok("a pod in namespace %s connected to %s", namespace, server)
	}
}

// serverForPods returns HOST:PORT of the local API server as akd tells pods.
func serverForPods(ctx context.Context, s *Subject) (string, error) {
	if s.Node.APIServer != "" {
		return s.Node.APIServer, nil
	}
	published, err := s.Local.PublishedServers(ctx)
	if err != nil {
		return "", err
	}
	if len(published) == 0 {
		return "", fmt.Errorf("the %s cluster publishes no address of its API server", s.Local.Side)
	}
	return published[0].String(), nil
}

// probeNamespace returns one of the node's remote namespaces, or a new one, and a
// function that deletes the new one.
func probeNamespace(ctx context.Context, s *Subject) (name string, cleanUp func(), err error) {
	nothing := func() {}
	namespaces := s.Remote.Client.CoreV1().Namespaces()
	for _, name := range slices.Sorted(maps.Keys(s.Node.Namespaces)) {
		found, err := namespaces.Get(ctx, name, metav1.GetOptions{})
		if err == nil && found.DeletionTimestamp == nil {
			return name, nothing, nil
		}
	}
	labels := probeLabels()
	labels[contract.LabelPodSecurity] = "restricted"
	made, err := namespaces.Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: probeName, Labels: labels}},
		metav1.CreateOptions{FieldManager: kubeclient.FieldManager})
	if err != nil {
		return "", nothing, fmt.Errorf("create a namespace for the probe pod: %w", err)
	}
	cleanUp = func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
		defer cancel()
		_ = namespaces.Delete(after, made.Name, kubeclient.Exactly(made))
	}
	return made.Name, cleanUp, awaitServiceAccount(ctx, s.Remote, made.Name)
}

// awaitServiceAccount waits for the ServiceAccount that every pod of a new
// namespace needs.
func awaitServiceAccount(ctx context.Context, c *kubeclient.Cluster, namespace string) error {
	return kubeclient.Until(ctx, func(ctx context.Context) (bool, string, error) {
		_, err := c.Client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, "remote namespace " + namespace + " has no service account yet", nil
		}
		return err == nil, "", err
	})
}

// errNotAdmitted says that the probe pod could not be created.
var errNotAdmitted = errors.New("create the probe pod")

// runProbe creates the probe pod, waits until it has ended, and deletes it.
func runProbe(ctx context.Context, c *kubeclient.Cluster, namespace string, probe *corev1.Pod) (*corev1.ContainerStateTerminated, error) {
	pods := c.Client.CoreV1().Pods(namespace)
	pod, err := pods.Create(ctx, probe, metav1.CreateOptions{FieldManager: kubeclient.FieldManager})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotAdmitted, err)
	}
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
		defer cancel()
		_ = pods.Delete(after, pod.Name,
			metav1.DeleteOptions{GracePeriodSeconds: new(int64(0)), Preconditions: &metav1.Preconditions{UID: &pod.UID}})
	}()
	var end *corev1.ContainerStateTerminated
	err = kubeclient.Until(ctx, func(ctx context.Context) (bool, string, error) {
		found, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		seen := []string{fmt.Sprintf("pod %s/%s is %s", namespace, pod.Name, found.Status.Phase)}
		for i := range found.Status.ContainerStatuses {
			state := &found.Status.ContainerStatuses[i].State
			end = state.Terminated
			if state.Waiting != nil && state.Waiting.Reason != "" {
				seen = append(seen, state.Waiting.Reason)
			}
		}
		return end != nil, strings.Join(seen, ": "), nil
	})
	return end, err
}

func probeLabels() map[string]string {
	return map[string]string{
		kubeclient.LabelManagedBy: kubeclient.FieldManager,
		kubeclient.LabelPartOf:    kubeclient.PartOf,
	}
}

// probePod returns a pod that connects to a server once. It requests and limits
// its resources, for namespaces with a quota, and ends by itself if nobody
// deletes it.
func probePod(image, server string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: probeName, Labels: probeLabels()},
		Spec: corev1.PodSpec{
			RestartPolicy:                corev1.RestartPolicyNever,
			ActiveDeadlineSeconds:        new(int64(probeTimeout.Seconds())),
			AutomountServiceAccountToken: new(false),
			SecurityContext:              kubeclient.RestrictedPod(),
			Containers: []corev1.Container{{
				Name:  "connect",
				Image: image,
				Args:  []string{"connect", "--timeout=" + connectTimeout.String(), server},
				Resources: corev1.ResourceRequirements{
					Requests: resources("10m", "32Mi"),
					Limits:   resources("500m", "64Mi"),
				},
				TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
				SecurityContext:          kubeclient.RestrictedContainer(),
			}},
		},
	}
}

func resources(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse(cpu),
		corev1.ResourceMemory: resource.MustParse(memory),
	}
}
