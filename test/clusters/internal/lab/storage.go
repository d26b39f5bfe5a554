package lab

import (
	"context"
	"errors"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/test/clusters/internal/csi"
)

// startStorage starts the cluster's storage driver, if it has one, and waits until
// the kubelets know it: only then the scheduler does.
func (l *Lab) startStorage(ctx context.Context, c cluster.Cluster) error {
	if c.Driver == "" {
		return nil
	}
	client, err := l.Client(c.Name)
	if err != nil {
		return err
	}
	for _, spec := range c.CSIController() {
		if err := l.ensure(spec); err != nil {
			return err
		}
	}
	// All of them, before one waits: none may be dead then.
	err = eachNode(c, func(node cluster.Node) error {
		pid, err := l.runtimePID(node)
		if err != nil {
			return err
		}
		return l.ensure(c.CSINode(node, pid))
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return eachNode(c, func(node cluster.Node) error {
		return l.blame(node.Component(cluster.DriverCommand), l.waitDriver(ctx, c, node, client))
	})
}

func (l *Lab) waitDriver(ctx context.Context, c cluster.Cluster, node cluster.Node, client kubernetes.Interface) error {
	return poll(ctx, "the storage driver", func(ctx context.Context) (bool, error) {
		if err := l.died(storageComponents(c)...); err != nil {
			return false, err
		}
		object, err := client.StorageV1().CSINodes().Get(ctx, node.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		known := slices.ContainsFunc(object.Spec.Drivers, func(driver storagev1.CSINodeDriver) bool { return driver.Name == csi.Name })
		return known, errors.New("the kubelet has not registered it")
	})
}

// storageComponents returns the names of the processes that serve volumes.
func storageComponents(c cluster.Cluster) []string {
	if c.Driver == "" {
		return nil
	}
	var names []string
	for _, spec := range c.CSIController() {
		names = append(names, spec.Name)
	}
	for _, node := range c.Nodes {
		names = append(names, node.Component(cluster.DriverCommand))
	}
	return names
}
