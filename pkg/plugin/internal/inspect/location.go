package inspect

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// pageSize is how many pods a list request asks for, as kubectl get does.
const pageSize = 500

// Location is where a local pod runs: an item of a PodLocationList.
type Location struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Phase     string `json:"phase"`
	Node      string `json:"node,omitempty"`
	// Actual says that akd serves the node. If it does not, the pod runs there.
	Actual          bool   `json:"actual"`
	RemoteNamespace string `json:"remoteNamespace,omitempty"`
	RemotePod       string `json:"remotePod,omitempty"`
	RemoteNode      string `json:"remoteNode,omitempty"`
	RemoteUID       string `json:"remoteUID,omitempty"`
	// RemotePhase and LastEvent are read from the remote cluster, if it was named.
	RemotePhase string `json:"remotePhase,omitempty"`
	Reason      string `json:"reason,omitempty"`
	Message     string `json:"message,omitempty"`
	LastEvent   string `json:"lastEvent,omitempty"`
	// Injected are the containers of the remote pod that the local one does not have:
	// admission in the remote cluster has added them.
	Injected []string `json:"injectedContainers,omitempty"`

	localUID   string   // of the pod
	containers []string // of the pod
	computed   bool     // RemoteNamespace is, because the pod has not started yet
}

// Locate reads where a pod runs from the pod alone. served has the nodes that akd
// serves, or is nil if they are unknown. What the pod's annotations claim is
// believed if akd can have written it; otherwise the location is unknown.
func Locate(pod *corev1.Pod, served map[string]bool) Location {
	location := Location{
		Namespace: pod.Namespace,
		Pod:       pod.Name,
		Phase:     string(pod.Status.Phase),
		Node:      pod.Spec.NodeName,
		Reason:    pod.Status.Reason,
		Message:   pod.Status.Message,
	}
	claimed := claimOf(pod)
	location.Actual = served[pod.Spec.NodeName] || served == nil && claimed.namespace != ""
	if !location.Actual {
		return location
	}
	if claimed.refused != "" {
		location.Reason = ReasonNotProved
		location.Message = "the pod's annotation " + claimed.refused + " is not akd's"
		return location
	}
	location.RemoteNamespace, location.RemoteNode, location.RemoteUID = claimed.namespace, claimed.node, claimed.uid
	if location.RemoteNamespace == "" { // see settle
		location.RemoteNamespace, location.computed = contract.RemoteNamespace(pod.Spec.NodeName, pod.Namespace), true
	}
	location.RemotePod, location.localUID, location.containers = pod.Name, string(pod.UID), containerNames(&pod.Spec)
	for _, condition := range pod.Status.Conditions {
		if strings.HasPrefix(string(condition.Type), contract.Domain) && condition.Status == corev1.ConditionFalse {
			location.Reason, location.Message = condition.Reason, condition.Message
		}
	}
	if location.Reason == "" {
		location.Reason, location.Message = containersWait(&pod.Status)
	}
	return location
}

// containerNames are those of all containers that the remote kubelet starts.
func containerNames(spec *corev1.PodSpec) []string {
	var names []string
	for _, container := range slices.Concat(spec.InitContainers, spec.Containers) {
		names = append(names, container.Name)
	}
	return names
}

// containersWait returns why the first container that should run does not, as kubectl
// get shows it. The time in which a container just starts is none.
func containersWait(status *corev1.PodStatus) (reason, message string) {
	for _, container := range slices.Concat(status.InitContainerStatuses, status.ContainerStatuses) {
		waits := container.State.Waiting
		if waits != nil && waits.Reason != "" && waits.Reason != "ContainerCreating" && waits.Reason != "PodInitializing" {
			return waits.Reason, waits.Message
		}
	}
	return "", ""
}

// Held returns those of a node's pods that cannot start, with their reasons. Those that
// wait for the remote scheduler are not among them: see PendingOf.
func Held(pods []corev1.Pod, node string) []Location {
	var held []Location
	for i := range pods {
		if contract.RemotelyPending(&pods[i]) != nil {
			continue
		}
		location := Locate(&pods[i], map[string]bool{node: true})
		if location.Phase == string(corev1.PodPending) && location.Message != "" {
			held = append(held, location)
		}
	}
	return held
}

// Why names the pod and tells why it does not run.
func (l *Location) Why() string {
	return fmt.Sprintf("%s/%s: %s: %s", l.Namespace, l.Pod, l.Reason, l.Message)
}

// Look returns the commands that tell more about the pod.
func (l *Location) Look(commands kubeclient.Commands) string {
	return commands.Kubectl(kubeclient.Local, "describe", "pod", l.Pod, "-n", l.Namespace) +
		"\n" + commands.Actual("where", l.Pod, "-n", l.Namespace)
}

// servedNodes returns the nodes that akd serves, or nil for a user who may not list
// nodes: every pod that has started has annotations.
func servedNodes(ctx context.Context, local *kubeclient.Cluster) map[string]bool {
	served := map[string]bool{}
	nodes, err := local.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNode})
	if err != nil {
		return nil
	}
	for i := range nodes.Items {
		served[nodes.Items[i].Name] = true
	}
	return served
}

// settle corrects the computed names of remote namespaces: akd takes the second name
// if the first one serves another local namespace. Pods of the namespace that have
// started tell, and so does the remote cluster.
func settle(ctx context.Context, remote *kubeclient.Cluster, locations []Location) error {
	type place struct{ node, namespace string }
	known := map[place]string{}
	for i := range locations {
		if l := &locations[i]; l.RemoteNamespace != "" && !l.computed {
			known[place{l.Node, l.Namespace}] = l.RemoteNamespace
		}
	}
	for i := range locations {
		l := &locations[i]
		if !l.computed {
			continue
		}
		at := place{l.Node, l.Namespace}
		if known[at] == "" && remote != nil {
			found, err := remote.Client.CoreV1().Namespaces().Get(ctx, l.RemoteNamespace, metav1.GetOptions{})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
				return fmt.Errorf("read remote namespace %s: %w", l.RemoteNamespace, err)
			}
			known[at] = l.RemoteNamespace
			if serves := found.GetLabels()[contract.LabelNamespace]; err == nil && serves != "" && serves != l.Namespace {
				known[at] = contract.RemoteNamespaces(l.Node, l.Namespace)[1]
			}
		}
		l.RemoteNamespace = cmp.Or(known[at], l.RemoteNamespace)
	}
	return nil
}

// addRemote adds to locations what the remote cluster says of its pods.
func addRemote(ctx context.Context, remote *kubeclient.Cluster, locations []Location) error {
	byNamespace := map[string][]*Location{}
	for i := range locations {
		if location := &locations[i]; location.RemotePod != "" {
			byNamespace[location.RemoteNamespace] = append(byNamespace[location.RemoteNamespace], location)
		}
	}
	for _, namespace := range slices.Sorted(maps.Keys(byNamespace)) {
		pods, err := listPods(ctx, remote, namespace, metav1.ListOptions{})
		if err != nil {
			return err
		}
		events, err := remote.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=Pod"})
		if apierrors.IsForbidden(err) {
			events = &corev1.EventList{}
		} else if err != nil {
			return fmt.Errorf("list remote events: %w", err)
		}
		for _, location := range byNamespace[namespace] {
			location.addPod(pods)
			location.addEvent(events.Items)
		}
	}
	return nil
}

// addPod adds what the remote pod says, if it is among the pods. A pod of that name
// can be another local pod's: of an earlier one, or of another namespace that the
// annotations claim.
func (l *Location) addPod(pods []corev1.Pod) {
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool {
		return p.Name == l.RemotePod && p.Labels[contract.LabelUID] == l.localUID && p.Labels[contract.LabelNamespace] == l.Namespace
	})
	if i < 0 {
		l.RemotePhase = "NotFound"
		return
	}
	pod := &pods[i]
	l.RemotePhase, l.RemoteNode, l.RemoteUID = string(pod.Status.Phase), pod.Spec.NodeName, string(pod.UID)
	if pod.DeletionTimestamp != nil {
		l.RemotePhase = "Terminating"
	}
	if pod.Status.Reason != "" {
		l.Reason, l.Message = pod.Status.Reason, pod.Status.Message
	}
	for _, name := range containerNames(&pod.Spec) {
		if !slices.Contains(l.containers, name) {
			l.Injected = append(l.Injected, name)
		}
	}
}

// addEvent adds the remote pod's latest event.
func (l *Location) addEvent(events []corev1.Event) {
	if l.RemotePhase == "NotFound" {
		return // they are of a pod that is gone, or of another's
	}
	var last metav1.Time
	for i := range events {
		event := &events[i]
		if event.InvolvedObject.Name == l.RemotePod && !event.LastTimestamp.Before(&last) {
			last, l.LastEvent = event.LastTimestamp, event.Reason+": "+event.Message
		}
	}
}

// locationList returns locations as a table. withRemote adds what the remote
// cluster says.
func locationList(locations []Location, withRemote bool) *output.List {
	list := &output.List{
		Kind:   "PodLocationList",
		Items:  locations,
		Head:   []string{"NAMESPACE", "POD", "PHASE", "NODE", "REMOTE NAMESPACE", "REMOTE NODE"},
		Narrow: 6,
	}
	if withRemote {
		list.Head = append(list.Head, "REMOTE PHASE", "REASON", "INJECTED", "LAST EVENT")
		list.Narrow = len(list.Head)
	} else {
		list.Head = append(list.Head, "REASON")
	}
	list.Head = append(list.Head, "REMOTE UID")
	for i := range locations {
		l := &locations[i]
		namespace := "not on an actual node"
		switch {
		case l.Actual && l.RemotePod == "":
			namespace = "<unknown>"
		case l.Actual:
			namespace = l.RemoteNamespace
			list.Names = append(list.Names, l.RemoteNamespace+"/"+l.RemotePod)
		}
		row := []string{l.Namespace, l.Pod, l.Phase, l.Node, namespace, l.RemoteNode}
		if withRemote {
			row = append(row, l.RemotePhase, l.Reason, strings.Join(l.Injected, ","), l.LastEvent, l.RemoteUID)
		} else {
			row = append(row, l.Reason, l.RemoteUID)
		}
		list.Rows = append(list.Rows, row)
	}
	return list
}

// PodsOf returns the pods of a node.
func PodsOf(ctx context.Context, local *kubeclient.Cluster, node string) ([]corev1.Pod, error) {
	return listPods(ctx, local, metav1.NamespaceAll, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
}

// listPods lists pods page by page.
func listPods(ctx context.Context, c *kubeclient.Cluster, namespace string, options metav1.ListOptions) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	options.Limit = pageSize
	for {
		page, err := c.Client.CoreV1().Pods(namespace).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list %s pods: %w", c.Side, err)
		}
		pods = append(pods, page.Items...)
		if options.Continue = page.Continue; options.Continue == "" {
			return pods, nil
		}
	}
}
