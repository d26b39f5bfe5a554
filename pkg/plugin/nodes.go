package plugin

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// nodeSummary is one node: an item of a NodeList.
type nodeSummary struct {
	Node    string `json:"node"`
	Ready   bool   `json:"ready"`
	Remote  string `json:"remote,omitempty"` // server in akd's credential, where the user may read it
	Kubelet string `json:"kubeletVersion,omitempty"`
	Pods    int    `json:"pods"`
	Address string `json:"address,omitempty"`
	Image   string `json:"image,omitempty"`
	Age     string `json:"age,omitempty"`
}

func newNodes(access *access, streams genericiooptions.IOStreams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "List the nodes that akds serve",
		Long: `List the nodes that akds serve. REMOTE is the API server of the remote cluster,
as akd reaches it: it is shown to who may read akd's credential.`,
		Example: "  kubectl actual nodes -o wide",
		Args:    noArguments,
	}
	out := newOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(); err != nil {
			return err
		}
		c, err := access.connectLocal(cmd.Context())
		if err != nil {
			return err
		}
		asked := &status{clock: clock.RealClock{}}
		found, err := asked.look(cmd.Context(), c.local, nil)
		if err != nil {
			return err
		}
		if len(found) == 0 && (out.format() == "" || out.wide()) {
			printf(streams.ErrOut, "No akd serves a node: install one with kubectl actual install NODE --remote-context=CONTEXT\n")
			return nil
		}
		return out.write(streams.Out, nodeTable(summaries(cmd.Context(), c.local, found)))
	}
	return cmd
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments: see %s --help", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

func summaries(ctx context.Context, local *cluster, found []nodeStatus) []nodeSummary {
	nodes := make([]nodeSummary, 0, len(found))
	for i := range found {
		n := &found[i]
		total := 0
		for _, count := range n.Pods {
			total += count
		}
		nodes = append(nodes, nodeSummary{
			Node: n.Node, Ready: n.Ready, Remote: remoteServer(ctx, local, n), Kubelet: n.Kubelet,
			Pods: total, Address: n.Address, Image: n.Image, Age: n.Age,
		})
	}
	return nodes
}

// remoteServer reads where akd's credential leads. An akd that runs in the
// remote cluster has none here.
func remoteServer(ctx context.Context, local *cluster, n *nodeStatus) string {
	if n.Replicas == 0 {
		return ""
	}
	secret, err := local.client.CoreV1().Secrets(contract.SystemNamespace).Get(ctx, n.Node, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	stored, err := clientcmd.Load(secret.Data[kubeconfigKey])
	if err != nil || stored.Clusters["remote"] == nil {
		return ""
	}
	return stored.Clusters["remote"].Server
}

func nodeTable(nodes []nodeSummary) result {
	r := result{
		kind: "NodeList", items: nodes, narrow: 6,
		head: []string{"NODE", "READY", "REMOTE", "VERSION", "PODS", "AGE", "ADDRESS", "IMAGE"},
	}
	for i := range nodes {
		n := &nodes[i]
		r.names = append(r.names, "node/"+n.Node)
		r.rows = append(r.rows, []string{
			n.Node, map[bool]string{true: "True", false: "False"}[n.Ready], cmp.Or(n.Remote, "<unknown>"),
			n.Kubelet, fmt.Sprint(n.Pods), n.Age, n.Address, n.Image,
		})
	}
	return r
}
