package plugin

import (
	"context"
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
)

// probePatience is how long the probe pod may take: its image may have to be
// pulled.
const probePatience = 90 * time.Second

func podChecks() []check {
	return []check{
		{
			id: "remote-pods-reach-local", title: "pods in the remote cluster reach the local API server", pre: true,
			needs: []string{"local-reachable", "remote-reachable", "clusters-distinct"}, patience: probePatience, run: remotePodsReachLocal,
		},
		{id: "services", title: "services of the local cluster can be mirrored", pre: true, needs: []string{"local-reachable", "remote-reachable", "clusters-distinct"}, run: services},
		{id: "orphaned-namespaces", title: "every remote namespace of the node has its local one", needs: []string{"node-installed"}, run: orphanedNamespaces},
		{id: "pods-start", title: "no pod of the node is held up", needs: []string{"node-installed"}, run: podsStart},
	}
}

// remotePodsReachLocal runs a pod that connects and ends. What it finds is the
// way itself: network policies of a namespace of the node's own count.
func remotePodsReachLocal(ctx context.Context, e *examination) finding {
	if !e.probe {
		return skipped("--no-probe")
	}
	server, err := e.serverForPods(ctx)
	if err != nil {
		return failed("say it with kubectl actual install --local-server HOST:PORT", "%s", err)
	}
	namespace, cleanUp, err := e.probeNamespace(ctx)
	defer cleanUp()
	if err != nil {
		return skipped("%s", err)
	}
	pods := e.both.remote.client.CoreV1().Pods(namespace)
	pod, err := pods.Create(ctx, connector(e.probeImage, server), metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil {
		return skipped("the probe pod was not admitted: %s", err)
	}
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
		defer cancel()
		_ = pods.Delete(after, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
	}()
	var end *corev1.ContainerStateTerminated
	err = until(ctx, func(ctx context.Context) (bool, string, error) {
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
	switch {
	case err != nil:
		return warning("kubectl actual check --probe-image=IMAGE with an agnhost that the remote nodes can pull, or --no-probe", "it could not be tried: %s", err)
	case end.ExitCode != 0:
		return failed("let pods of the remote cluster connect to "+server+", or say where they can with kubectl actual install --local-server HOST:PORT",
			"a pod in remote namespace %s cannot connect to %s: %s", namespace, server, strings.TrimSpace(end.Message))
	default:
		return ok("one in namespace %s connected to %s", namespace, server)
	}
}

// serverForPods is HOST:PORT of the local API server as akd tells it to pods.
func (e *examination) serverForPods(ctx context.Context) (string, error) {
	if e.server != "" {
		return e.server, nil
	}
	published, err := e.both.local.published(ctx)
	if err != nil {
		return "", err
	}
	if len(published) == 0 {
		return "", fmt.Errorf("the %s cluster publishes no address of its API server", e.both.local.side)
	}
	return published[0].String(), nil
}

// probeNamespace is one of the node's own, or else one that is made for it.
func (e *examination) probeNamespace(ctx context.Context) (name string, cleanUp func(), err error) {
	namespaces := e.both.remote.client.CoreV1().Namespaces()
	for _, name := range slices.Sorted(maps.Keys(e.record)) {
		found, err := namespaces.Get(ctx, name, metav1.GetOptions{})
		if err == nil && found.DeletionTimestamp == nil && found.Labels[contract.LabelNodeName] == e.node {
			return name, func() {}, nil
		}
	}
	made, err := namespaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "actual-check-",
		Labels: map[string]string{
			"app.kubernetes.io/managed-by": fieldManager, "app.kubernetes.io/part-of": "actual-kubelets",
			"pod-security.kubernetes.io/enforce": "restricted",
		},
	}}, metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil {
		return "", func() {}, fmt.Errorf("no namespace for the probe pod: %w", err)
	}
	return made.Name, func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
		defer cancel()
		_ = namespaces.Delete(after, made.Name, metav1.DeleteOptions{})
	}, e.awaitServiceAccount(ctx, made.Name)
}

// awaitServiceAccount waits for what every pod of a new namespace needs.
func (e *examination) awaitServiceAccount(ctx context.Context, namespace string) error {
	return until(ctx, func(ctx context.Context) (bool, string, error) {
		_, err := e.both.remote.client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, "remote namespace " + namespace + " has no service account yet", nil
		}
		return err == nil, "", err
	})
}

// connector is a pod that connects to server once. It asks for little and says
// so, for namespaces with a quota, and ends by itself should nobody delete it.
func connector(image, server string) *corev1.Pod {
	const seconds = 5
	amount := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "actual-check-",
			Labels:       map[string]string{"app.kubernetes.io/managed-by": fieldManager, "app.kubernetes.io/part-of": "actual-kubelets"},
		},
		Spec: corev1.PodSpec{
			RestartPolicy:                corev1.RestartPolicyNever,
			ActiveDeadlineSeconds:        new(int64(probePatience.Seconds())),
			AutomountServiceAccountToken: new(false),
			SecurityContext:              unprivileged(),
			Containers: []corev1.Container{{
				Name: "connect", Image: image,
				Args:                     []string{"connect", fmt.Sprintf("--timeout=%ds", seconds), server},
				Resources:                corev1.ResourceRequirements{Requests: amount("10m", "32Mi"), Limits: amount("500m", "64Mi")},
				TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
				SecurityContext:          powerless(),
			}},
		},
	}
}

// services says whether Services are mirrored, or could be.
func services(ctx context.Context, e *examination) finding {
	if e.node != "" && e.akd != nil && !e.mirrors {
		return skipped("akd is configured with services: none")
	}
	found, err := checkServiceRanges(ctx, e.both, e.node, nil)
	if err != nil {
		return skipped("%s", err)
	}
	for _, why := range []string{found.Unsupported, found.Overlap, found.PodsUnknown} {
		if why == "" {
			continue
		}
		if e.mirrors {
			return failed("", "%s", why)
		}
		return warning("", "%s", why)
	}
	ranges := strings.Join(texts(found.Local), ", ")
	switch {
	case !e.mirrors:
		return ok("%s is free in the remote cluster", ranges)
	case found.Object == "" || len(found.Missing) > 0:
		return failed(e.again(), "the remote cluster has no ServiceCIDR with %s for the node", strings.Join(texts(found.Missing), ", "))
	case !found.Ready:
		return failed("kubectl describe servicecidr "+found.Object+" --context="+e.remoteName(), "ServiceCIDR %s is not ready", found.Object)
	case len(found.Strangers) > 0:
		return warning("create these services again with another address, in the remote cluster",
			"the remote cluster's own services have addresses of %s, so that local services with the same cannot be mirrored: %s", ranges, strings.Join(found.Strangers, ", "))
	default:
		return ok("%s, by ServiceCIDR %s", ranges, found.Object)
	}
}

// orphanedNamespaces compares akd's record, and the remote namespaces with the
// node's label, with the local namespaces.
func orphanedNamespaces(ctx context.Context, e *examination) finding {
	locals, err := e.both.local.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return skipped("%s", err)
	}
	there := map[string]bool{}
	for i := range locals.Items {
		there[locals.Items[i].Name] = true
	}
	remotes, err := e.both.remote.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNodeName + "=" + e.node})
	if err != nil {
		return skipped("%s", err)
	}
	var orphans, unrecorded []string
	for i := range remotes.Items {
		remote := &remotes.Items[i]
		if remote.DeletionTimestamp != nil {
			continue
		}
		if !there[remote.Labels[contract.LabelNamespace]] {
			orphans = append(orphans, remote.Name)
		}
		if _, ok := e.record[remote.Name]; !ok {
			unrecorded = append(unrecorded, remote.Name)
		}
	}
	switch {
	case len(orphans) > 0:
		return warning("kubectl get pods -A -l "+contract.LabelNodeName+"="+e.node+" --context="+e.remoteName()+", and delete the namespaces if akd has not within some minutes",
			"%d of %d have no local namespace: %s", len(orphans), len(remotes.Items), strings.Join(orphans, ", "))
	case len(unrecorded) > 0 && e.akd != nil:
		return warning("kubectl rollout restart deployment "+e.node+" -n "+contract.SystemNamespace+" --context="+e.homeContext(),
			"akd's record, ConfigMap %s of the remote cluster, lacks: %s", recordOf(e.node), strings.Join(unrecorded, ", "))
	}
	if stopped := e.condition(conditionSweepStopped); stopped != nil && stopped.Status == corev1.ConditionTrue {
		return failed("kubectl get pods -A -l "+contract.LabelNodeName+"="+e.node+" --context="+e.remoteName(), "%s", stopped.Message)
	}
	return ok("%d", len(remotes.Items))
}

func (e *examination) homeContext() string {
	if e.runInRemote() {
		return e.remoteName()
	}
	return "LOCAL"
}

// podsStart looks for pods that akd says it cannot run.
func podsStart(ctx context.Context, e *examination) finding {
	var held []string
	count := 0
	options := metav1.ListOptions{FieldSelector: "spec.nodeName=" + e.node, Limit: pageSize}
	for {
		page, err := e.both.local.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return skipped("%s", err)
		}
		for i := range page.Items {
			count++
			if l := locationOf(&page.Items[i], map[string]bool{e.node: true}); l.Phase == string(corev1.PodPending) && l.Message != "" {
				held = append(held, fmt.Sprintf("%s/%s: %s: %s", l.Namespace, l.Pod, l.Reason, l.Message))
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
	}
	if len(held) > 0 {
		f := warning("kubectl actual where POD --remote-context="+e.remoteName()+", and kubectl describe pod POD", "%d of %d: %s", len(held), count, held[0])
		f.Details = held
		return f
	}
	return ok("%d pods", count)
}
