package check

import (
	"cmp"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodeutil "k8s.io/component-helpers/node/util"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// Subject is what checks examine. They only read it, but for local-reachable and
// remote-reachable, which have the clusters identify themselves.
type Subject struct {
	kubeclient.Clusters
	// Commands are those that findings propose.
	Commands kubeclient.Commands
	// Node is the node. Until node-installed has found it, only its name may be
	// known.
	Node Node
	// Labels and Taints are those that the node is to be installed with.
	Labels map[string]string
	Taints []corev1.Taint
	// Version is this program's.
	Version string
	// ProbeImage is the image of the probe pod. Empty runs no pod.
	ProbeImage string
	Clock      clock.PassiveClock
}

// Node is a node that akd serves, as far as the clusters tell about it.
type Node struct {
	Name string
	// Object is the Node; nil if akd has not registered it.
	Object *corev1.Node
	// AKD is akd's Deployment; nil if kubectl actual did not install akd.
	AKD *appsv1.Deployment
	// Approver is the Deployment of the approver of its certificates; nil if there is none.
	Approver *appsv1.Deployment
	// Host is the cluster that akd runs in. Peer is the other one, which akd has
	// a credential for.
	Host, Peer *kubeclient.Cluster
	// Values are those of the installation, as far as they can be read back.
	Values manifests.Values
	// APIServer is HOST:PORT of the local API server as akd tells pods; empty if
	// it is not configured.
	APIServer string
	// SharesServices says that akd relies on the copies of Services of another node.
	SharesServices bool
	// Namespaces are the node's remote namespaces, proved by their labels and names:
	// values are the local ones.
	Namespaces map[string]string
	// Record is akd's record of its namespaces: keys remote, values local. Whoever
	// has akd's credential can write it: it is evidence, and proves nothing.
	Record map[string]string
}

// condition returns one of the node's conditions, or nil.
func (n *Node) condition(kind corev1.NodeConditionType) *corev1.NodeCondition {
	if n.Object == nil {
		return nil
	}
	_, condition := nodeutil.GetNodeCondition(&n.Object.Status, kind)
	return condition
}

// The commands that findings propose.

func (s *Subject) installCommand(flags ...string) string {
	if s.Node.Approver != nil {
		flags = append([]string{approveFlag}, flags...) // without it, install removes the approver
	}
	return s.Commands.Actual(slices.Concat([]string{"install", cmp.Or(s.Node.Name, "NODE")}, flags)...)
}

func (s *Subject) rotateCommand(flags ...string) string {
	return s.Commands.Actual(slices.Concat([]string{"token", "rotate", s.Node.Name}, flags)...)
}

func (s *Subject) logsCommand() string {
	if s.akdIsRemote() {
		return s.Commands.Actual("logs", s.Node.Name)
	}
	return s.Commands.ActualLocal("logs", s.Node.Name)
}

func (s *Subject) approverLogsCommand() string {
	return s.Commands.Kubectl(kubeclient.Local, "logs", "deployment/"+contract.ApproverName(s.Node.Name), "-n", contract.SystemNamespace)
}

func (s *Subject) remotePodsCommand() string {
	return s.Commands.Kubectl(kubeclient.Remote, "get", "pods", "-A", "-l", contract.LabelNodeName+"="+s.Node.Name)
}

// hostCommand is a command of kubectl in the cluster that akd runs in.
func (s *Subject) hostCommand(words ...string) string {
	if s.akdIsRemote() {
		return s.Commands.Kubectl(kubeclient.Remote, words...)
	}
	return s.Commands.Kubectl(kubeclient.Local, words...)
}

func (s *Subject) akdIsRemote() bool { return s.Node.Host != nil && s.Node.Host == s.Remote }
