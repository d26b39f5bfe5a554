package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// pageSize is how many pods are asked for at a time, as kubectl get does.
const pageSize = 500

// nodeLabel marks nodes that akds serve.
const nodeLabel = "actual.vk/node"

// location is where one local pod runs: an item of a PodLocationList.
type location struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Phase     string `json:"phase"`
	Node      string `json:"node,omitempty"`
	// Actual says that an akd serves the node; without, the pod runs there.
	Actual          bool   `json:"actual"`
	RemoteNamespace string `json:"remoteNamespace,omitempty"`
	RemotePod       string `json:"remotePod,omitempty"`
	RemoteNode      string `json:"remoteNode,omitempty"`
	RemoteUID       string `json:"remoteUID,omitempty"`
	// What the remote cluster itself says, where it was given.
	RemotePhase string `json:"remotePhase,omitempty"`
	Reason      string `json:"reason,omitempty"`
	Message     string `json:"message,omitempty"`
	LastEvent   string `json:"lastEvent,omitempty"`
}

type where struct {
	access  *access
	streams genericiooptions.IOStreams
	output  *output

	namespace     string
	allNamespaces bool
	selector      string
	files         resource.FilenameOptions
	reverse       bool
}

func newWhere(access *access, streams genericiooptions.IOStreams) *cobra.Command {
	w := &where{access: access, streams: streams}
	cmd := &cobra.Command{
		Use:   "where [POD | TYPE/NAME ...]",
		Short: "Show where pods run",
		Long: `Show which remote namespace, pod and node a local pod runs as.

An argument is a pod, an owner of pods such as deploy/web, or a namespace as
ns/shop. The answer is in the local pods' annotations: the remote cluster is
not asked. Where --remote-context names it, it adds what it says of its pods.`,
		Example: `  kubectl actual where web-0
  kubectl actual where deploy/web ns/shop
  kubectl actual where -A -l app=web -o wide
  kubectl actual where --reverse vk-ak-example-d05fe343c4951ecb/web-0`,
		RunE: func(cmd *cobra.Command, args []string) error { return w.run(cmd.Context(), args) },
	}
	w.output = newOutput(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&w.namespace, "namespace", "n", "", "local namespace; your context's unless given")
	flags.BoolVarP(&w.allNamespaces, "all-namespaces", "A", false, "pods of all local namespaces")
	flags.StringVarP(&w.selector, "selector", "l", "", "labels of the pods")
	flags.StringSliceVarP(&w.files.Filenames, "filename", "f", nil, "files with pods or their owners")
	flags.BoolVar(&w.reverse, "reverse", false, "arguments are remote: NAMESPACE or NAMESPACE/POD")
	return cmd
}

func (w *where) run(ctx context.Context, args []string) error {
	if err := w.check(args); err != nil {
		return err
	}
	c, err := w.clusters(ctx)
	if err != nil {
		return err
	}
	if w.namespace == "" {
		if w.namespace, _, err = w.access.local.ToRawKubeConfigLoader().Namespace(); err != nil {
			return usagef("%w", err)
		}
	}
	var pods []corev1.Pod
	var missing error
	if w.reverse {
		pods, missing, err = w.ofRemote(ctx, c.local, args)
	} else {
		pods, missing, err = w.find(ctx, c.local, args)
	}
	if err != nil {
		return err
	}
	found, err := w.locate(ctx, c, pods)
	if err != nil {
		return err
	}
	if len(found) == 0 && missing == nil && w.output.format() == "" {
		printf(w.streams.ErrOut, "No pods found.\n")
		return nil
	}
	if err := w.output.write(w.streams.Out, w.result(found, c.remote != nil)); err != nil {
		return err
	}
	return missing
}

func (w *where) check(args []string) error {
	if err := w.output.check(); err != nil {
		return err
	}
	if len(args) > 0 && w.selector != "" {
		return usagef("a name and --selector exclude each other: use one of the two")
	}
	if len(args) > 0 && len(w.files.Filenames) > 0 {
		return usagef("a name and --filename exclude each other: use one of the two")
	}
	if len(args) > 0 && w.allNamespaces && !w.reverse {
		return usagef("a name and --all-namespaces exclude each other: name the namespace with --namespace")
	}
	if w.reverse && len(args) == 0 {
		return usagef("give a remote NAMESPACE or NAMESPACE/POD with --reverse")
	}
	if _, err := labels.Parse(w.selector); err != nil {
		return usagef("--selector: %w", err)
	}
	return nil
}

// clusters connects to the remote one only where it was named.
func (w *where) clusters(ctx context.Context) (clusters, error) {
	if w.access.remoteContext == "" && w.access.remoteFile == "" {
		return w.access.connectLocal(ctx)
	}
	return w.access.connect(ctx)
}

// find returns the pods that the arguments mean. What is missing is told after
// the others.
func (w *where) find(ctx context.Context, local *cluster, args []string) (pods []corev1.Pod, missing, err error) {
	if len(args) == 0 && len(w.files.Filenames) == 0 {
		namespace := w.namespace
		if w.allNamespaces {
			namespace = metav1.NamespaceAll
		}
		pods, err = list(ctx, local, namespace, w.selector)
		return pods, nil, err
	}
	var lacking []error
	for _, info := range w.named(args, &lacking) {
		more, err := w.podsOf(ctx, local, info)
		if apierrors.IsNotFound(err) {
			lacking = append(lacking, err)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		pods = append(pods, more...)
	}
	for _, err := range lacking {
		if usage, ok := errors.AsType[usageError](err); ok {
			return nil, nil, usage
		}
	}
	return pods, errors.Join(lacking...), nil
}

// named returns the objects that the arguments or files name.
func (w *where) named(args []string, lacking *[]error) []*resource.Info {
	var all []*resource.Info
	if len(w.files.Filenames) > 0 {
		infos, err := w.builder().FilenameParam(false, &w.files).Do().Infos()
		if err != nil {
			*lacking = append(*lacking, err)
		}
		return infos
	}
	for _, arg := range args {
		name := arg
		if !strings.Contains(name, "/") {
			name = "pod/" + name
		}
		infos, err := w.builder().ResourceTypeOrNameArgs(false, name).Do().Infos()
		if err != nil {
			if strings.Contains(err.Error(), "doesn't have a resource type") {
				err = usagef("%s: %w", arg, err)
			}
			*lacking = append(*lacking, err)
			continue
		}
		all = append(all, infos...)
	}
	return all
}

func (w *where) builder() *resource.Builder {
	return resource.NewBuilder(w.access.local).Unstructured().NamespaceParam(w.namespace).DefaultNamespace().ContinueOnError().Flatten()
}

// podsOf returns the pods that an object is or owns.
func (w *where) podsOf(ctx context.Context, local *cluster, info *resource.Info) ([]corev1.Pod, error) {
	object, ok := info.Object.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("%s: unexpected %T", info.ObjectName(), info.Object)
	}
	switch kind := object.GetKind(); kind {
	case "Pod":
		if object.GetUID() == "" { // from a file
			pod, err := local.client.CoreV1().Pods(info.Namespace).Get(ctx, info.Name, metav1.GetOptions{})
			if err != nil {
				return nil, err
			}
			return []corev1.Pod{*pod}, nil
		}
		var pod corev1.Pod
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &pod); err != nil {
			return nil, fmt.Errorf("%s: %w", info.ObjectName(), err)
		}
		return []corev1.Pod{pod}, nil
	case "Namespace":
		return list(ctx, local, info.Name, "")
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController":
		selector, err := selectorOf(object)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", info.ObjectName(), err)
		}
		return list(ctx, local, info.Namespace, selector)
	default:
		return nil, usagef("%s/%s is neither a pod nor an owner of pods: give a pod, a workload such as deploy/%s, or a namespace as ns/NAME",
			strings.ToLower(kind), info.Name, info.Name)
	}
}

// selectorOf returns how an owner knows its pods.
func selectorOf(owner *unstructured.Unstructured) (string, error) {
	if owner.GetKind() == "ReplicationController" {
		matched, _, err := unstructured.NestedStringMap(owner.Object, "spec", "selector")
		return labels.Set(matched).String(), err
	}
	content, _, err := unstructured.NestedMap(owner.Object, "spec", "selector")
	if err != nil {
		return "", err
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &selector); err != nil {
		return "", err
	}
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return "", err
	}
	return parsed.String(), nil
}

// list asks for pods page by page.
func list(ctx context.Context, c *cluster, namespace, selector string) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	options := metav1.ListOptions{LabelSelector: selector, Limit: pageSize}
	for {
		page, err := c.client.CoreV1().Pods(namespace).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list %s pods: %w", c.side, err)
		}
		pods = append(pods, page.Items...)
		if options.Continue = page.Continue; options.Continue == "" {
			return pods, nil
		}
	}
}

// ofRemote returns the local pods that run in remote namespaces, or as remote
// pods.
func (w *where) ofRemote(ctx context.Context, local *cluster, args []string) (pods []corev1.Pod, missing, err error) {
	all, err := list(ctx, local, metav1.NamespaceAll, w.selector)
	if err != nil {
		return nil, nil, err
	}
	var lacking []error
	for _, arg := range args {
		namespace, name, one := strings.Cut(arg, "/")
		before := len(pods)
		for i := range all {
			if all[i].Annotations[contract.AnnotationRemoteNamespace] == namespace && (!one || all[i].Name == name) {
				pods = append(pods, all[i])
			}
		}
		if len(pods) == before {
			lacking = append(lacking, fmt.Errorf("no local pod runs in remote %s", arg))
		}
	}
	return pods, errors.Join(lacking...), nil
}

// locate reads the pods' annotations and, where it was given, the remote cluster.
func (w *where) locate(ctx context.Context, c clusters, pods []corev1.Pod) ([]location, error) {
	served := servedNodes(ctx, c.local)
	found := make([]location, 0, len(pods))
	for i := range pods {
		found = append(found, locationOf(&pods[i], served))
	}
	if c.remote == nil {
		return found, nil
	}
	return found, askRemote(ctx, c.remote, found)
}

// servedNodes are the nodes of akds. A user who may not list nodes does without:
// the annotations tell of every pod that has started.
func servedNodes(ctx context.Context, local *cluster) map[string]bool {
	served := map[string]bool{}
	nodes, err := local.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: nodeLabel})
	if err != nil {
		return served
	}
	for i := range nodes.Items {
		served[nodes.Items[i].Name] = true
	}
	return served
}

func locationOf(pod *corev1.Pod, served map[string]bool) location {
	l := location{
		Namespace: pod.Namespace, Pod: pod.Name, Phase: string(pod.Status.Phase), Node: pod.Spec.NodeName,
		RemoteNamespace: pod.Annotations[contract.AnnotationRemoteNamespace],
		RemoteNode:      pod.Annotations[contract.AnnotationRemoteNode],
		RemoteUID:       pod.Annotations[contract.AnnotationRemoteUID],
		Reason:          pod.Status.Reason, Message: pod.Status.Message,
	}
	l.Actual = l.RemoteNamespace != "" || served[l.Node]
	if !l.Actual {
		return l
	}
	l.RemotePod = pod.Name
	if l.RemoteNamespace == "" { // it has not started yet
		l.RemoteNamespace = contract.RemoteNamespace(l.Node, pod.Namespace)
	}
	for _, condition := range pod.Status.Conditions {
		// The conditions that akd gives a pod that it cannot run, or not yet.
		if strings.HasPrefix(string(condition.Type), "actual.vk/") && condition.Status == corev1.ConditionFalse {
			l.Reason, l.Message = condition.Reason, condition.Message
		}
	}
	return l
}

// askRemote adds what the remote cluster says of its pods.
func askRemote(ctx context.Context, remote *cluster, found []location) error {
	namespaces := map[string][]int{}
	for i := range found {
		if found[i].Actual {
			namespaces[found[i].RemoteNamespace] = append(namespaces[found[i].RemoteNamespace], i)
		}
	}
	for _, namespace := range slices.Sorted(maps.Keys(namespaces)) {
		pods, err := list(ctx, remote, namespace, "")
		if err != nil {
			return err
		}
		events, err := remote.client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=Pod"})
		if err != nil && !apierrors.IsForbidden(err) {
			return fmt.Errorf("list remote events: %w", err)
		}
		for _, i := range namespaces[namespace] {
			describe(&found[i], pods, events)
		}
	}
	return nil
}

func describe(l *location, pods []corev1.Pod, events *corev1.EventList) {
	l.RemotePhase = "NotFound"
	for i := range pods {
		pod := &pods[i]
		if pod.Name != l.RemotePod {
			continue
		}
		l.RemotePhase, l.RemoteNode = string(pod.Status.Phase), pod.Spec.NodeName
		if pod.DeletionTimestamp != nil {
			l.RemotePhase = "Terminating"
		}
		if pod.Status.Reason != "" {
			l.Reason, l.Message = pod.Status.Reason, pod.Status.Message
		}
	}
	var last metav1.Time
	for i := range events.Items {
		event := &events.Items[i]
		if event.InvolvedObject.Name == l.RemotePod && !event.LastTimestamp.Before(&last) {
			last, l.LastEvent = event.LastTimestamp, event.Reason+": "+event.Message
		}
	}
}

// result makes the table.
func (w *where) result(found []location, asked bool) result {
	r := result{
		kind: "PodLocationList", items: found, narrow: 6,
		head: []string{"NAMESPACE", "POD", "PHASE", "NODE", "REMOTE NAMESPACE", "REMOTE NODE"},
	}
	if asked {
		r.head = append(r.head, "REMOTE PHASE", "REASON", "LAST EVENT", "REMOTE UID")
		r.narrow = len(r.head) - 1
	} else {
		r.head = append(r.head, "REASON", "REMOTE UID")
	}
	for i := range found {
		l := &found[i]
		remote := l.RemoteNamespace
		if !l.Actual {
			remote = "not on an actual node"
		} else {
			r.names = append(r.names, l.RemoteNamespace+"/"+l.RemotePod)
		}
		row := []string{l.Namespace, l.Pod, l.Phase, l.Node, remote, l.RemoteNode}
		if asked {
			row = append(row, l.RemotePhase, l.Reason, l.LastEvent)
		} else {
			row = append(row, l.Reason)
		}
		r.rows = append(r.rows, append(row, l.RemoteUID))
	}
	return r
}
