package install

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// checkPolicies refuses a remote cluster in which nothing confines akd, unless
// the user has accepted that.
func checkPolicies(remote *kubeclient.Cluster, unconfined bool) error {
	has, err := remote.HasPolicies()
	if err != nil || has || unconfined {
		return err
	}
	err = fmt.Errorf("the remote cluster %s has no ValidatingAdmissionPolicy, which confines akd to its own namespaces", remote.Version)
	return failure.Hintf(err, "upgrade it to Kubernetes 1.30, or accept that with --allow-unconfined-remote")
}

// findCluster asks the local cluster for its UID, unless it is known.
func (o *nodeOptions) findCluster(ctx context.Context, access *kubeclient.Access) error {
	if o.clusterUID != "" {
		return nil
	}
	both, err := access.ConnectLocal(ctx)
	if err != nil {
		return failure.Hintf(err, "the remote objects carry the local cluster's UID: "+
			"name its context with --context, or print them with kubectl actual manifests --side=remote --cluster-uid")
	}
	o.clusterUID = string(both.Local.UID)
	return nil
}

// readRecords reads both sides' records of installed kinds.
func readRecords(ctx context.Context, both kubeclient.Clusters, node string) (map[kubeclient.Side][]schema.GroupKind, error) {
	recorded := map[kubeclient.Side][]schema.GroupKind{}
	for _, c := range []*kubeclient.Cluster{both.Local, both.Remote} {
		kinds, err := readKinds(ctx, c, node)
		if err != nil {
			return nil, err
		}
		recorded[c.Side] = kinds
	}
	return recorded, nil
}

// remoteCapacity is the sum of what the schedulable remote nodes have, so that
// akd needs no right to list them.
func remoteCapacity(ctx context.Context, remote *kubeclient.Cluster) (corev1.ResourceList, error) {
	nodes, err := remote.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, failure.Hintf(fmt.Errorf("list the remote nodes for the node's capacity: %w", err),
			"give the capacity with --capacity cpu=…,memory=…,pods=…")
	}
	return sumCapacity(nodes.Items), nil
}

// sumCapacity adds up what schedulable nodes have.
func sumCapacity(nodes []corev1.Node) corev1.ResourceList {
	sum := corev1.ResourceList{}
	for n := range nodes {
		if nodes[n].Spec.Unschedulable {
			continue
		}
		for _, name := range []corev1.ResourceName{
			corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourcePods, corev1.ResourceEphemeralStorage,
		} {
			total := sum[name]
			total.Add(nodes[n].Status.Allocatable[name])
			sum[name] = total
		}
	}
	for name, quantity := range sum {
		if quantity.Cmp(resource.Quantity{}) <= 0 {
			delete(sum, name)
		}
	}
	return sum
}
