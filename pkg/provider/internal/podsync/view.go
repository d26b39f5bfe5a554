package podsync

import (
	"context"
	"errors"
)

// Lookup answers the kubelet API from the caches.
func (c *Controller) Lookup() Lookup { return Lookup{local: c.pods, namespaces: c.namespaces} }

// OrphansKept reports whether akd keeps remote pods that have no local pod
// because they are too many.
func (c *Controller) OrphansKept() bool { return c.guard.isPaused() }

// Reconciles returns how many reconciles there have been.
func (c *Controller) Reconciles() uint64 { return c.workers.Taken() }

// CheckSynced is a readiness check: what both clusters hold has been read.
func (c *Controller) CheckSynced(context.Context) error {
	if !c.pods.HasSynced() || !c.services.HasSynced() || !c.namespaces.Read() {
		return errors.New("the clusters have not been read yet")
	}
	return nil
}

// CountMirrored counts what akd keeps in the remote cluster by kind, for
// metrics.
func (c *Controller) CountMirrored() map[string]int {
	counts := map[string]int{}
	for _, namespace := range c.namespaces.All() {
		counts["Namespace"]++
		counts["Pod"] += namespace.Pods.Len()
		counts["ConfigMap"] += namespace.ConfigMaps.Len()
		counts["Secret"] += namespace.Secrets.Len()
		counts["Service"] += namespace.Services.Len()
		counts["EndpointSlice"] += namespace.EndpointSlices.Len()
	}
	return counts
}

// CountPhases counts the local pods by phase, for metrics.
func (c *Controller) CountPhases() map[string]int {
	counts := map[string]int{}
	for _, pod := range c.pods.All() {
		counts[string(pod.Status.Phase)]++
	}
	return counts
}
