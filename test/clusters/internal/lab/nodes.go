package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/cluster"
)

// startRuntimes starts every node's containerd and imports the images. A dead
// containerd counts as a reboot of its node: its mount namespace is gone, and
// programs that still run in there must not run twice.
func (l *Lab) startRuntimes(ctx context.Context, state State, c cluster.Cluster) error {
	return eachNode(c, func(node cluster.Node) error {
		if record, ok := l.table().Find(node.Component("containerd")); ok && record.Alive() {
			return nil
		}
		if err := l.group().Empty(ctx, node.Name, nodeGroup(node.Name)); err != nil {
			return err
		}
		if err := l.ensure(c.Containerd(node)); err != nil {
			return err
		}
		if err := l.waitRuntime(ctx, c, node); err != nil {
			return err
		}
		l.env.Report("%s: importing images", node.Name)
		for _, archive := range state.Images.Archives {
			if err := l.importImage(ctx, c, node, archive); err != nil {
				return err
			}
		}
		return nil
	})
}

func eachNode(c cluster.Cluster, f func(cluster.Node) error) error {
	errs := make([]error, len(c.Nodes))
	var group sync.WaitGroup
	for i, node := range c.Nodes {
		group.Go(func() {
			if err := f(node); err != nil {
				errs[i] = fmt.Errorf("node %s: %w", node.Name, err)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (l *Lab) runtimePID(node cluster.Node) (int, error) {
	record, ok := l.table().Find(node.Component("containerd"))
	if !ok || !record.Alive() {
		return 0, l.blame(node.Component("containerd"), errors.New("it does not run"))
	}
	return record.PID, nil
}

func (l *Lab) waitRuntime(ctx context.Context, c cluster.Cluster, node cluster.Node) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	err := poll(ctx, "containerd", func(ctx context.Context) (bool, error) {
		pid, err := l.runtimePID(node)
		if err != nil {
			return false, err
		}
		_, err = l.table().Run(ctx, c.Ctr(node, pid, "version"), nil)
		return err == nil, err
	})
	return l.blame(node.Component("containerd"), err)
}

// importImage opens the archive outside the node's mount namespace, in which the
// path may be another file.
func (l *Lab) importImage(ctx context.Context, c cluster.Cluster, node cluster.Node, archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	pid, err := l.runtimePID(node)
	if err != nil {
		return err
	}
	if _, err := l.table().Run(ctx, c.Ctr(node, pid, "images", "import", "-"), file); err != nil {
		return fmt.Errorf("import image %s: %w", archive, err)
	}
	return nil
}

// startNodes makes the cluster's nodes Ready.
func (l *Lab) startNodes(ctx context.Context, state State, c cluster.Cluster) error {
	client, err := l.Client(c.Name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if c.Simulated {
		return l.simulateNodes(ctx, state, c, client)
	}
	err = eachNode(c, func(node cluster.Node) error {
		pid, err := l.runtimePID(node)
		if err != nil {
			return err
		}
		if err := l.ensure(c.Kubelet(node, pid)); err != nil {
			return err
		}
		return l.blame(node.Component("kubelet"), l.admitNode(ctx, c, node, client))
	})
	if err != nil || len(c.Nodes) == 0 {
		return err
	}
	pid, err := l.runtimePID(c.Nodes[0])
	if err != nil {
		return err
	}
	return l.ensure(c.KubeProxy(c.Nodes[0], pid))
}

// admitNode configures the node's pod network as soon as the controller manager
// has chosen it, and waits until the node is Ready.
func (l *Lab) admitNode(ctx context.Context, c cluster.Cluster, node cluster.Node, client kubernetes.Interface) error {
	configured := false
	return poll(ctx, "the node to be Ready", func(ctx context.Context) (bool, error) {
		if err := l.died(node.Component("containerd"), node.Component("kubelet")); err != nil {
			return false, err
		}
		object, err := client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		if object.Spec.PodCIDR == "" {
			return false, errors.New("the controller manager has not assigned it a pod network")
		}
		if !configured {
			pods, err := netip.ParsePrefix(object.Spec.PodCIDR)
			if err != nil {
				return false, err
			}
			if err := c.WriteCNI(node, pods); err != nil {
				return false, err
			}
			configured = true
		}
		return nodeReady(object)
	})
}

func nodeReady(node *corev1.Node) (bool, error) {
	for _, condition := range node.Status.Conditions {
		if condition.Type != corev1.NodeReady {
			continue
		}
		if condition.Status != corev1.ConditionTrue {
			return false, fmt.Errorf("%s: %s", condition.Reason, condition.Message)
		}
		return true, nil
	}
	return false, errors.New("it has not reported its condition")
}

// simulateNodes registers the nodes that kwok plays.
func (l *Lab) simulateNodes(ctx context.Context, state State, c cluster.Cluster, client kubernetes.Interface) error {
	count := state.Plan.nodes(c.Name)
	l.env.Report("%s: registering %d simulated nodes", c.Name, count)
	for i := range count {
		node := simulatedNode(c.Name, i+1)
		_, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create node %s: %w", node.Name, err)
		}
	}
	err := poll(ctx, "simulated nodes", func(ctx context.Context) (bool, error) {
		if err := l.died(c.Component("kwok"), c.Component("kube-controller-manager")); err != nil {
			return false, err
		}
		list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "type=kwok"})
		if err != nil {
			return false, err
		}
		ready := 0
		for i := range list.Items {
			if ok, _ := nodeReady(&list.Items[i]); ok {
				ready++
			}
		}
		return ready >= count, fmt.Errorf("%d of %d are Ready", ready, count)
	})
	return l.blame(c.Component("kwok"), err)
}

func simulatedNode(clusterName string, index int) *corev1.Node {
	name := nodeName(clusterName, index)
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("32"),
		corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods:   resource.MustParse("250"),
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{cluster.KwokAnnotation: "fake"},
			Labels: map[string]string{
				"type": "kwok", corev1.LabelHostname: name,
				corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
			},
		},
		Status: corev1.NodeStatus{Capacity: capacity, Allocatable: capacity},
	}
	if clusterName == Local {
		node.Labels[cluster.InfraTaint] = "true"
		node.Spec.Taints = []corev1.Taint{{Key: cluster.InfraTaint, Value: "true", Effect: corev1.TaintEffectNoSchedule}}
	}
	return node
}
