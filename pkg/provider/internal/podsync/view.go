package podsync

import (
	"context"
	"errors"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// Lookup returns a Lookup that answers the kubelet API from the caches.
func (c *Controller) Lookup() Lookup { return Lookup{local: c.pods, namespaces: c.namespaces} }

// OrphansKept reports whether akd keeps remote pods without a local pod because
// there are too many of them.
func (c *Controller) OrphansKept() bool { return c.guard.isPaused() }

// Reconciles returns the number of reconciles so far.
func (c *Controller) Reconciles() uint64 { return c.workers.Taken() }

// CheckSynced is a readiness check: it succeeds once the content of both
// clusters has been read.
func (c *Controller) CheckSynced(context.Context) error {
	if !c.pods.HasSynced() || !c.services.HasSynced() || !c.budgets.HasSynced() || !c.namespaces.Read() {
		return errors.New("the clusters have not been read yet")
	}
	return nil
}

// CountMirrored counts by kind the objects that akd keeps in the remote
// cluster, for metrics.
func (c *Controller) CountMirrored() map[string]int {
	counts := map[string]int{}
	for _, namespace := range c.namespaces.All() {
		counts["Namespace"]++
		counts["Pod"] += namespace.Pods.Len()
		counts["ConfigMap"] += namespace.ConfigMaps.Len()
		counts["Secret"] += namespace.Secrets.Len()
		counts["Service"] += namespace.Services.Len()
		counts["EndpointSlice"] += namespace.EndpointSlices.Len()
		counts["PodDisruptionBudget"] += namespace.Budgets.Len()
		counts["PersistentVolumeClaim"] += namespace.Claims.Len()
	}
	return counts
}

// CountVolumes counts the volumes of claims by state, for metrics.
func (c *Controller) CountVolumes() map[string]int { return c.storage.CountStates() }

// CountPhases counts the local pods by phase, for metrics.
func (c *Controller) CountPhases() map[string]int {
	counts := map[string]int{}
	for _, pod := range c.pods.All() {
		counts[string(pod.Status.Phase)]++
	}
	return counts
}

// CountRemotelyPending counts the local pods for which the remote scheduler finds no
// node, for metrics.
func (c *Controller) CountRemotelyPending() int {
	count := 0
	for _, pod := range c.pods.All() {
		if contract.RemotelyPending(pod) != nil {
			count++
		}
	}
	return count
}
