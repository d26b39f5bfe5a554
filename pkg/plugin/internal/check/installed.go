package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/rights"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/config"
)

// findNode finds the node, its akd, and what can be read back of how it was
// installed.
func findNode(ctx context.Context, s *Subject) (Node, Finding) {
	subject := *s
	node := &subject.Node
	if node.Name == "" {
		names, err := nodeNames(ctx, s.Local)
		switch {
		case err != nil:
			return *node, failed("", "%s", err)
		case len(names) == 0:
			return *node, failed(s.installCommand(), "no akd serves a node of the local cluster")
		case len(names) > 1:
			return *node, failed("name one: "+s.Commands.Actual("check", names[0]),
				"there are several: %s", strings.Join(names, ", "))
		}
		node.Name = names[0]
	}
	if err := node.readObject(ctx, s.Local); err != nil {
		return *node, failed("", "%s", err)
	}
	if err := node.findAKD(ctx, s.Clusters); err != nil {
		return *node, failed("", "%s", err)
	}
	switch {
	case node.Object == nil && node.AKD == nil:
		return *node, failed(subject.installCommand(), "there is no node %s, and no akd of that name", node.Name)
	case node.Object != nil && node.Object.Labels[contract.LabelNode] == "":
		return *node, failed(s.Commands.ActualLocal("nodes"), "node %s is not served by akd", node.Name)
	}
	if err := node.findApprover(ctx, s.Local); err != nil {
		return *node, failed("", "%s", err)
	}
	if err := node.readInstallation(ctx, s.Clusters); err != nil {
		return *node, failed(subject.installCommand(), "%s", err)
	}
	if node.AKD == nil {
		return *node, warning(subject.installCommand(), "%s, whose akd was not installed with kubectl actual", node.Name)
	}
	return *node, ok("%s, whose akd runs in the %s cluster", node.Name, node.Host.Side)
}

// nodeNames returns the names of the nodes that akd serves, and of the nodes whose
// akd is installed but has not registered them.
func nodeNames(ctx context.Context, local *kubeclient.Cluster) ([]string, error) {
	nodes, err := local.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNode})
	if err != nil {
		return nil, fmt.Errorf("list the nodes that akd serves: %w", err)
	}
	var names []string
	for i := range nodes.Items {
		names = append(names, nodes.Items[i].Name)
	}
	akds, err := local.Client.AppsV1().Deployments(contract.SystemNamespace).List(ctx,
		metav1.ListOptions{LabelSelector: contract.LabelNodeName})
	if err != nil {
		return nil, fmt.Errorf("list the deployments of akd: %w", err)
	}
	for i := range akds.Items {
		names = append(names, akds.Items[i].Labels[contract.LabelNodeName])
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// readObject reads the Node, if there is one.
func (n *Node) readObject(ctx context.Context, local *kubeclient.Cluster) error {
	object, err := local.Client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	n.Object = object
	return nil
}

// findAKD looks for akd's Deployment in both clusters. An akd that was started by
// other means is taken to run in the local one.
func (n *Node) findAKD(ctx context.Context, both kubeclient.Clusters) error {
	n.Host, n.Peer = both.Local, both.Remote
	for _, host := range []*kubeclient.Cluster{both.Local, both.Remote} {
		akd, err := host.Client.AppsV1().Deployments(contract.SystemNamespace).Get(ctx, n.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s cluster: get akd's deployment: %w", host.Side, err)
		}
		foreign := host == both.Remote && akd.Labels[contract.LabelClusterUID] != string(both.Local.UID)
		if akd.Labels[contract.LabelNodeName] != n.Name || foreign {
			continue
		}
		n.AKD = akd
		if host == both.Remote {
			n.Host, n.Peer = both.Remote, both.Local
		}
		return nil
	}
	return nil
}

// findApprover looks for the approver of the node's certificates.
func (n *Node) findApprover(ctx context.Context, local *kubeclient.Cluster) error {
	approver, err := local.Client.AppsV1().Deployments(contract.SystemNamespace).Get(ctx, contract.ApproverName(n.Name), metav1.GetOptions{})
	switch {
	case err == nil && approver.Labels[contract.LabelNodeName] == n.Name:
		n.Approver = approver
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("local cluster: get the deployment of the approver: %w", err)
	}
	return nil
}

// readInstallation reads akd's record of namespaces and its configuration.
func (n *Node) readInstallation(ctx context.Context, both kubeclient.Clusters) error {
	if err := n.readNamespaces(ctx, both); err != nil {
		return err
	}
	n.Values = manifests.Values{Node: n.Name, ClusterUID: string(both.Local.UID), RunIn: string(n.Host.Side)}
	record, err := both.Remote.Client.CoreV1().ConfigMaps(contract.SystemNamespace).Get(ctx, contract.RecordName(n.Name), metav1.GetOptions{})
	switch {
	case err == nil:
		n.Record = record.Data
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("read akd's record of remote namespaces: %w", err)
	}
	if n.AKD == nil {
		return nil
	}
	stored, err := n.Host.Client.CoreV1().ConfigMaps(contract.SystemNamespace).Get(ctx, n.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read akd's configuration: %w", err)
	}
	cfg, err := config.Decode("akd.yaml", []byte(stored.Data["akd.yaml"]), nil)
	if err != nil {
		return fmt.Errorf("ConfigMap %s/%s: %w", contract.SystemNamespace, n.Name, err)
	}
	n.apply(cfg)
	return nil
}

// readNamespaces lists the node's remote namespaces, if the user may.
func (n *Node) readNamespaces(ctx context.Context, both kubeclient.Clusters) error {
	owner := both.Owner(n.Name)
	list, err := both.Remote.Client.CoreV1().Namespaces().List(ctx,
		metav1.ListOptions{LabelSelector: labels.Set(owner.ObjectLabels()).String()})
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the node's remote namespaces: %w", err)
	}
	n.Namespaces = map[string]string{}
	for i := range list.Items {
		local := list.Items[i].Labels[contract.LabelNamespace]
		if owner.OwnsNamespace(&list.Items[i], local) == nil {
			n.Namespaces[list.Items[i].Name] = local
		}
	}
	return nil
}

// apply reads values of the installation back from akd's configuration.
func (n *Node) apply(cfg *config.Configuration) {
	n.APIServer = cfg.Local.APIServer
	rights.Configure(&n.Values, cfg)
	n.SharesServices = cfg.Services == config.ServicesShared
	if n.Values.MirrorServices {
		// Only names and rights are compared: the ranges do not matter.
		n.Values.ServiceCIDRs = []string{"192.0.2.0/24"}
		n.Values.EndpointCIDRs = []string{"198.51.100.0/24"}
	}
}
