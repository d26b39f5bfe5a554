package inspect

import (
	"cmp"
	"context"
	"strconv"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/command"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
)

// nodeSummary is a node: an item of a NodeList.
type nodeSummary struct {
	Node    string `json:"node"`
	Ready   bool   `json:"ready"`
	Remote  string `json:"remote,omitempty"` // server in akd's credential, if the user may read it
	Kubelet string `json:"kubeletVersion,omitempty"`
	Pods    int    `json:"pods"`
	Address string `json:"address,omitempty"`
	Image   string `json:"image,omitempty"`
	Age     string `json:"age,omitempty"`
}

// NewNodes returns kubectl actual nodes.
func NewNodes(env *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "List the nodes that akd serves",
		Long: `List the nodes that akd serves.

REMOTE is the address of the remote API server in akd's credential. It is shown
to users who may read that Secret.`,
		Example: `  # List all nodes
  kubectl actual nodes

  # List all nodes with addresses and images
  kubectl actual nodes -o wide`,
		Args: command.NoArguments,
	}
	printer := output.NewPrinter(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := printer.Validate(); err != nil {
			return err
		}
		both, err := env.Access.ConnectLocal(cmd.Context())
		if err != nil {
			return err
		}
		nodes, err := ReadNodes(cmd.Context(), both.Local, nil, clock.RealClock{}.Now())
		if err != nil {
			return err
		}
		if len(nodes) == 0 && printer.ForPeople() {
			env.ErrOut().Printf(noNodes, env.Access.Commands().Actual("install", "NODE"))
			return nil
		}
		return printer.Print(env.Out(), nodeList(cmd.Context(), both.Local, nodes))
	}
	return cmd
}

// nodeList returns the nodes as a table.
func nodeList(ctx context.Context, local *kubeclient.Cluster, nodes []NodeStatus) *output.List {
	items := make([]nodeSummary, 0, len(nodes))
	list := &output.List{
		Kind:   "NodeList",
		Head:   []string{"NODE", "READY", "REMOTE", "VERSION", "PODS", "AGE", "ADDRESS", "IMAGE"},
		Narrow: 6,
	}
	for i := range nodes {
		n := &nodes[i]
		item := nodeSummary{
			Node:    n.Node,
			Ready:   n.Ready,
			Remote:  remoteServer(ctx, local, n),
			Kubelet: n.Kubelet,
			Pods:    n.podCount(),
			Address: n.Address,
			Image:   n.Image,
			Age:     n.age,
		}
		items = append(items, item)
		list.Names = append(list.Names, "node/"+n.Node)
		list.Rows = append(list.Rows, []string{
			n.Node,
			n.readiness(),
			cmp.Or(item.Remote, "<unknown>"),
			n.Kubelet,
			strconv.Itoa(item.Pods),
			n.age,
			n.Address,
			n.Image,
		})
	}
	list.Items = items
	return list
}

// remoteServer reads the address of the remote API server from akd's credential.
// An akd that runs in the remote cluster has none in the local one.
func remoteServer(ctx context.Context, local *kubeclient.Cluster, n *NodeStatus) string {
	if n.Replicas == 0 {
		return ""
	}
	secret, err := local.Client.CoreV1().Secrets(contract.SystemNamespace).Get(ctx, n.Node, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	stored, err := clientcmd.Load(secret.Data[kubeclient.KubeconfigKey])
	if err != nil || stored.Clusters[string(kubeclient.Remote)] == nil {
		return ""
	}
	return stored.Clusters[string(kubeclient.Remote)].Server
}
