package storage

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// refuseForeign returns an error if a remote namespace belongs to a node of another local
// cluster, such as the one whose place this one takes, or nil.
func refuseForeign(both kubeclient.Clusters, namespace *corev1.Namespace) error {
	node, uid := namespace.Labels[contract.LabelNodeName], clusterOf(namespace)
	if node == "" || uid == both.Local.UID {
		return nil
	}
	err := fmt.Errorf("the remote namespace %s belongs to node %s of another local cluster: to that with UID %q; this one has UID %q",
		namespace.Name, node, uid, both.Local.UID)
	return hintTakeOver(err, both, node)
}

// refuseForeignNode returns an error if a node has no volumes here because another local
// cluster has its name in the remote one, and volumes there, or nil.
func refuseForeignNode(ctx context.Context, both kubeclient.Clusters, node string) error {
	if both.Remote == nil {
		return nil
	}
	client := both.Remote.Client.CoreV1()
	options := metav1.ListOptions{LabelSelector: contract.LabelNodeName + "=" + node}
	namespaces, err := client.Namespaces().List(ctx, options)
	if err != nil {
		return fmt.Errorf("list the remote namespaces of node %s: %w", node, err)
	}
	found, whose := 0, types.UID("")
	for i := range namespaces.Items {
		if clusterOf(&namespaces.Items[i]) == both.Local.UID {
			continue
		}
		claims, err := client.PersistentVolumeClaims(namespaces.Items[i].Name).List(ctx, options)
		if err != nil {
			return fmt.Errorf("list the remote claims in %s: %w", namespaces.Items[i].Name, err)
		}
		if len(claims.Items) > 0 {
			found, whose = found+len(claims.Items), clusterOf(&namespaces.Items[i])
		}
	}
	if found == 0 {
		return nil
	}
	err = fmt.Errorf("node %s belongs to another local cluster in the remote one: to that with UID %q, which has %s there; "+
		"this local cluster has UID %q", node, whose, numberOf(found), both.Local.UID)
	return hintTakeOver(err, both, node)
}

func numberOf(volumes int) string {
	if volumes == 1 {
		return "1 volume"
	}
	return fmt.Sprintf("%d volumes", volumes)
}

func clusterOf(namespace *corev1.Namespace) types.UID {
	return types.UID(namespace.Labels[contract.LabelClusterUID])
}

// hintTakeOver says how a local cluster gets the volumes of the one whose place it takes.
func hintTakeOver(err error, both kubeclient.Clusters, node string) error {
	return failure.Hintf(err, "if that cluster is gone for good, and this one takes its place, take the node over: "+
		"its volumes are orphans then, which can be imported: %s", both.Commands().Actual("install", node, "--take-over", "--storage=claims"))
}
