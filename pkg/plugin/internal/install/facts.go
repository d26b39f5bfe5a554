package install

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/remotenodes"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// checkPolicies reports whether the remote cluster serves the policies that
// confine akd. It refuses one that does not, unless the user has accepted that.
func checkPolicies(remote *kubeclient.Cluster, unconfined bool) (served bool, err error) {
	served, err = remote.HasPolicies()
	if err != nil || served || unconfined {
		return served, err
	}
	err = fmt.Errorf("the remote cluster %s has no ValidatingAdmissionPolicy, which confines akd to its own namespaces", remote.Version)
	return false, failure.Hintf(err, "upgrade it to Kubernetes 1.30, or accept that with --allow-unconfined-remote")
}

// findCluster asks the local cluster for its UID, unless it is known.
func (o *nodeOptions) findCluster(ctx context.Context, access *kubeclient.Access) error {
	if o.clusterUID != "" {
		return nil
	}
	both, err := access.ConnectLocal(ctx)
	if err != nil {
		return failure.Hintf(err, "the remote objects carry the local cluster's UID: name its context with --context, or give the UID: %s",
			kubeclient.Commands{}.ActualLocal("manifests", o.node, "--side=remote", "--cluster-uid=UID"))
	}
	o.clusterUID = string(both.Local.UID)
	return nil
}

// readPlacement reads what the remote cluster's admission adds to the pods of the
// node, which the policies must admit: its default priority class, and what
// belongs to the runtime class.
func readPlacement(ctx context.Context, remote *kubeclient.Cluster, values *manifests.Values) (outcome string, err error) {
	placement := &values.Placement
	if values.Unconfined {
		return "", nil
	}
	if slices.Contains(placement.PriorityClasses(), "") {
		classes, err := remote.Client.SchedulingV1().PriorityClasses().List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", fmt.Errorf("find the remote cluster's default priority class: %w", err)
		}
		placement.DefaultPriorityClass = defaultClass(classes.Items)
	}
	for _, name := range placement.RuntimeClasses() {
		if name == "" {
			continue
		}
		class, err := remote.Client.NodeV1().RuntimeClasses().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "", failure.Hintf(fmt.Errorf("the remote cluster has no RuntimeClass %s", name),
				"create it, or change pods.runtimeClassName or pods.placement.runtimeClasses in akd's configuration")
		}
		if err != nil {
			return "", fmt.Errorf("read the remote cluster's RuntimeClass %s: %w", name, err)
		}
		if class.Scheduling != nil {
			placement.RuntimeScheduling = append(placement.RuntimeScheduling, *class.Scheduling)
		}
	}
	return "", nil
}

// defaultClass is the priority class of pods that name none: the lowest of those
// that are marked as default.
// https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#priorityclass
func defaultClass(classes []schedulingv1.PriorityClass) string {
	var lowest *schedulingv1.PriorityClass
	for i := range classes {
		if classes[i].GlobalDefault && (lowest == nil || classes[i].Value < lowest.Value) {
			lowest = &classes[i]
		}
	}
	if lowest == nil {
		return ""
	}
	return lowest.Name
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

const giveCapacity = "give the capacity with --capacity cpu=…,memory=…,pods=…"

// readsRemoteNodes reports whether install reads the remote nodes: akd may not, and no
// configuration says what the node has.
func (o *nodeOptions) readsRemoteNodes() bool { return !o.readNodes && o.configFile == "" }

// checkRoom refuses a node without any capacity, with which akd would not start.
func (o *nodeOptions) checkRoom(found discovered) error {
	if !o.readsRemoteNodes() || len(found.nodes.Allocatable) > 0 || len(o.capacity) > 0 {
		return nil
	}
	err := errors.New("no node of the remote cluster takes pods: it has none, or each is not ready, cordoned, or tainted")
	return failure.Hintf(err, "%s, or tolerations in a configuration with --config (pods.tolerations)", giveCapacity)
}

// readRemoteNodes reads what the remote nodes are together, so that akd needs no right to list
// them. If nobody may, the user has to give the capacity.
func (o *nodeOptions) readRemoteNodes(ctx context.Context, remote *kubeclient.Cluster) (remotenodes.Together, error) {
	nodes, err := remote.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	switch {
	case err != nil && len(o.capacity) > 0:
		return remotenodes.Together{}, nil
	case err != nil:
		return remotenodes.Together{}, failure.Hintf(fmt.Errorf("list the remote nodes for the node's capacity: %w", err), giveCapacity)
	}
	together := remotenodes.Of(nodes.Items, remotenodes.Placement{})
	maps.DeleteFunc(together.Allocatable, func(name corev1.ResourceName, quantity resource.Quantity) bool {
		return quantity.Sign() <= 0 || strings.HasPrefix(string(name), corev1.ResourceAttachableVolumesPrefix) // is a limit per machine
	})
	return together, nil
}
