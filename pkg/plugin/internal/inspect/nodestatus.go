package inspect

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	nodeutil "k8s.io/component-helpers/node/util"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/storage"
)

// NodeStatus is the state of a node: an item of a NodeStatusList.
type NodeStatus struct {
	Node    string `json:"node"`
	Ready   bool   `json:"ready"`
	Kubelet string `json:"kubeletVersion,omitempty"` // of the remote nodes
	Address string `json:"address,omitempty"`
	// Image, Replicas, ReadyReplicas and Leader describe akd, if it runs in the
	// local cluster.
	Image         string `json:"image,omitempty"`
	Replicas      int32  `json:"replicas"`
	ReadyReplicas int32  `json:"readyReplicas"`
	Leader        string `json:"leader,omitempty"`
	// CredentialExpires is when akd's credential expires, in RFC 3339.
	CredentialExpires string         `json:"credentialExpires,omitempty"`
	RemoteSilence     *int           `json:"secondsSinceRemoteAnswered,omitempty"`
	OrphansKept       bool           `json:"orphansKept"`
	Pods              map[string]int `json:"pods"` // by phase
	// RemotelyPending is the number of pods for which the remote scheduler finds no node,
	// and OldestPending for how long it has found none for one of them.
	RemotelyPending int   `json:"remotelyPending"`
	OldestPending   *int  `json:"secondsRemotelyPending,omitempty"`
	Capacity        int64 `json:"podCapacity"`
	// Volumes are the numbers of the node's volumes by state, if the user may list them.
	// Orphans are only counted if the remote cluster was named.
	Volumes  storage.Counts `json:"volumes,omitempty"`
	Problems []Problem      `json:"problems,omitempty"`
	// Warnings are problems that leave the node usable.
	Warnings []Problem `json:"warnings,omitempty"`

	age      string
	commands kubeclient.Commands
}

// Problem is something wrong, and how to fix it.
type Problem struct {
	What string `json:"what"`
	Fix  string `json:"fix"`
}

func (n *NodeStatus) add(what, fix string) {
	n.Problems = append(n.Problems, Problem{What: what, Fix: fix})
}

// The commands that problems propose.

func (n *NodeStatus) logsCommand() string { return n.commands.ActualLocal("logs", n.Node) }

func (n *NodeStatus) installCommand() string { return n.commands.Actual("install", n.Node) }

func (n *NodeStatus) rotateCommand() string { return n.commands.Actual("token", "rotate", n.Node) }

// ReadNodes reads the state of the named nodes from the local cluster, or that of
// all nodes that akd serves if none is named.
func ReadNodes(ctx context.Context, local *kubeclient.Cluster, names []string, now time.Time) ([]NodeStatus, error) {
	known, err := knownNodes(ctx, local, now)
	if err != nil {
		return nil, err
	}
	wanted := slices.Sorted(slices.Values(names))
	if len(wanted) == 0 {
		wanted = slices.Sorted(maps.Keys(known))
	}
	var found []NodeStatus
	for _, name := range slices.Compact(wanted) {
		node := known[name]
		if node == nil {
			err := fmt.Errorf("no akd serves a node %q", name)
			return nil, failure.Hintf(err, "install one: %s", local.Commands.Actual("install", name))
		}
		if err := node.addPods(ctx, local, now); err != nil {
			return nil, err
		}
		node.addLeader(ctx, local)
		found = append(found, *node)
	}
	return found, nil
}

// knownNodes returns the nodes that akd serves, and those whose akd is installed
// but has not registered them, by name.
func knownNodes(ctx context.Context, local *kubeclient.Cluster, now time.Time) (map[string]*NodeStatus, error) {
	nodes, err := local.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNode})
	if err != nil {
		return nil, fmt.Errorf("list the nodes that akd serves: %w", err)
	}
	deployments, err := local.Client.AppsV1().Deployments(contract.SystemNamespace).List(ctx,
		metav1.ListOptions{LabelSelector: contract.LabelNodeName})
	if apierrors.IsForbidden(err) {
		deployments = &appsv1.DeploymentList{}
	} else if err != nil {
		return nil, fmt.Errorf("list the deployments of akd: %w", err)
	}
	known := map[string]*NodeStatus{}
	for i := range nodes.Items {
		known[nodes.Items[i].Name] = statusOf(&nodes.Items[i], now, local.Commands)
	}
	for i := range deployments.Items {
		deployment := &deployments.Items[i]
		name := deployment.Labels[contract.LabelNodeName]
		if known[name] == nil {
			known[name] = &NodeStatus{Node: name, Pods: map[string]int{}, commands: local.Commands}
		}
		if deployment.Name == contract.ApproverName(name) {
			known[name].addApprover(deployment)
		} else {
			known[name].addDeployment(deployment)
		}
	}
	return known, nil
}

// statusOf reads what a Node says.
func statusOf(node *corev1.Node, now time.Time, commands kubeclient.Commands) *NodeStatus {
	n := &NodeStatus{
		Node:              node.Name,
		Kubelet:           node.Status.NodeInfo.KubeletVersion,
		CredentialExpires: node.Annotations[contract.AnnotationTokenExpires],
		Capacity:          node.Status.Allocatable.Pods().Value(),
		Pods:              map[string]int{},
		age:               duration.HumanDuration(now.Sub(node.CreationTimestamp.Time)),
		commands:          commands,
	}
	for _, address := range node.Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			n.Address = address.Address
		}
	}
	n.addConditions(&node.Status)
	if expires, err := time.Parse(time.RFC3339, n.CredentialExpires); err == nil && expires.Before(now) {
		n.add("akd's credential has expired", n.rotateCommand())
	}
	return n
}

const unsigned = "pods run, but kubectl logs, exec, attach, port-forward and top may fail: " +
	"the certificate of its kubelet API is not signed, as after akd has moved to another address"

// addConditions reads the node's conditions.
func (n *NodeStatus) addConditions(status *corev1.NodeStatus) {
	if _, ready := nodeutil.GetNodeCondition(status, corev1.NodeReady); ready != nil {
		n.Ready = ready.Status == corev1.ConditionTrue
		fix := n.logsCommand()
		if ready.Reason == contract.ReasonCredentialRejected {
			fix = n.rotateCommand()
		}
		if !n.Ready {
			n.add(fmt.Sprintf("the node is not ready: %s: %s", ready.Reason, ready.Message), fix)
		}
	}
	_, paused := nodeutil.GetNodeCondition(status, contract.ConditionOrphanDeletionPaused)
	if paused != nil && paused.Status == corev1.ConditionTrue {
		n.OrphansKept = true
		n.add(paused.Message, "delete the namespaces that nobody needs: "+
			n.commands.Kubectl(kubeclient.Remote, "get", "namespaces", "-l", contract.LabelNodeName+"="+n.Node))
	}
	_, signed := nodeutil.GetNodeCondition(status, contract.ConditionServingCertificateSigned)
	if signed != nil && signed.Status != corev1.ConditionTrue {
		n.Warnings = append(n.Warnings, Problem{
			What: unsigned,
			Fix:  "approve it: " + n.installCommand(),
		})
	}
	_, renewed := nodeutil.GetNodeCondition(status, contract.ConditionCredentialRenewed)
	if renewed != nil && renewed.Status != corev1.ConditionTrue {
		n.add("akd's credential is not renewed: "+renewed.Message, n.rotateCommand())
	}
}

// addApprover reads what the Deployment of the approver of akd's certificates says.
func (n *NodeStatus) addApprover(deployment *appsv1.Deployment) {
	logs := n.commands.Kubectl(kubeclient.Local, "logs", "deployment/"+deployment.Name, "-n", deployment.Namespace)
	for i := range n.Warnings {
		if warning := &n.Warnings[i]; warning.What == unsigned {
			warning.Fix = "see why its approver leaves the request: " + logs
		}
	}
	if deployment.Status.ReadyReplicas == 0 {
		n.Warnings = append(n.Warnings, Problem{
			What: "the approver of akd's certificates is not ready: after akd has moved to another address, its certificate is not approved",
			Fix:  logs,
		})
	}
}

// addDeployment reads what akd's Deployment says.
func (n *NodeStatus) addDeployment(deployment *appsv1.Deployment) {
	n.Replicas, n.ReadyReplicas = ptr.Deref(deployment.Spec.Replicas, 1), deployment.Status.ReadyReplicas
	for i := range deployment.Spec.Template.Spec.Containers {
		n.Image = deployment.Spec.Template.Spec.Containers[i].Image
	}
	if n.ReadyReplicas < n.Replicas {
		n.add(fmt.Sprintf("%d of %d akd replicas are ready", n.ReadyReplicas, n.Replicas), n.logsCommand())
	}
	if n.age == "" {
		n.add("akd is installed, but the node is not registered", n.logsCommand())
	}
}

// addPods counts the node's pods by phase, and tells of those that cannot start or wait
// for the remote scheduler.
func (n *NodeStatus) addPods(ctx context.Context, local *kubeclient.Cluster, now time.Time) error {
	pods, err := PodsOf(ctx, local, n.Node)
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Node, err)
	}
	for i := range pods {
		n.Pods[string(pods[i].Status.Phase)]++
	}
	if held := Held(pods, n.Node); len(held) > 0 {
		n.Warnings = append(n.Warnings, Problem{
			What: fmt.Sprintf("%d of %d pods cannot start: %s", len(held), len(pods), held[0].Why()),
			Fix:  held[0].Look(n.commands),
		})
	}
	pending := PendingOf(pods, n.Node, now, 0)
	if n.RemotelyPending = len(pending.Pods); n.RemotelyPending > 0 {
		n.OldestPending = new(int(pending.Oldest.Seconds()))
	}
	if late := PendingOf(pods, n.Node, now, PendingBound); len(late.Pods) > 0 {
		n.Warnings = append(n.Warnings, Problem{What: late.What(len(pods)), Fix: late.Fix(n.commands)})
	}
	return nil
}

// addLeader finds the active akd, and asks it for the remote API server's last
// answer.
func (n *NodeStatus) addLeader(ctx context.Context, local *kubeclient.Cluster) {
	n.Leader = Leader(ctx, local, n.Node)
	if silence, known := RemoteSilence(ctx, local, n.Leader); known {
		n.RemoteSilence = new(int(silence.Seconds()))
	}
}

// podCount is the number of the node's pods.
func (n *NodeStatus) podCount() int {
	total := 0
	for _, count := range n.Pods {
		total += count
	}
	return total
}

// running are the node's pods that run, all of them, and those that are remotely pending.
func (n *NodeStatus) running() string {
	text := fmt.Sprintf("%d/%d running", n.Pods[string(corev1.PodRunning)], n.podCount())
	if n.OldestPending == nil {
		return text
	}
	oldest := time.Duration(*n.OldestPending) * time.Second
	return text + fmt.Sprintf(", %d remotely pending (%s)", n.RemotelyPending, duration.HumanDuration(oldest))
}

// readiness is the node's condition Ready, as a table shows it.
func (n *NodeStatus) readiness() string {
	if n.Ready {
		return string(corev1.ConditionTrue)
	}
	return string(corev1.ConditionFalse)
}

// replicas are those of akd that are ready, and all.
func (n *NodeStatus) replicas() string {
	if n.Replicas == 0 {
		return "elsewhere"
	}
	return fmt.Sprintf("%d/%d", n.ReadyReplicas, n.Replicas)
}

// credential is how long akd's credential is valid, or "-" if the node does not
// say.
func (n *NodeStatus) credential(now time.Time) string {
	expires, err := time.Parse(time.RFC3339, n.CredentialExpires)
	switch {
	case err != nil:
		return "-"
	case expires.Before(now):
		return "expired"
	default:
		return duration.HumanDuration(expires.Sub(now)) + " left"
	}
}

// remoteAnswered is when the remote API server last answered akd.
func (n *NodeStatus) remoteAnswered() string {
	if n.RemoteSilence == nil {
		return ""
	}
	return fmt.Sprintf("%ds ago", *n.RemoteSilence)
}
