package inspect

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/output"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/storage"
)

// volumeReader reads the volumes of nodes for status, which must also work while the
// remote cluster cannot be reached.
type volumeReader struct {
	access *kubeclient.Access
	local  *kubeclient.Cluster
	warn   *output.Console

	remote *kubeclient.Cluster
	tried  bool // to reach the remote cluster
	warned bool
}

// addTo adds the numbers of volumes, and warnings of those that need a person. What cannot
// be read is said once, and the rest is shown without it. A user who may not list volumes
// gets none. It fails if the user named the remote cluster in a way that cannot be meant.
func (r *volumeReader) addTo(ctx context.Context, nodes []NodeStatus) error {
	both := kubeclient.Clusters{Local: r.local}
	volumes, err := storage.List(ctx, both, "")
	if err != nil {
		r.warnOnce("volumes", err)
		return nil
	}
	if both.Remote, err = r.reach(ctx, nodes, len(volumes) > 0); failure.IsUsage(err) {
		return err
	}
	if both.Remote != nil && err == nil {
		var compared []storage.Volume
		if compared, err = storage.List(ctx, both, ""); err == nil {
			volumes = compared
		}
	}
	r.warnOnce("orphaned volumes", err)
	for i := range nodes {
		nodes[i].addVolumes(volumes)
	}
	return nil
}

func (r *volumeReader) warnOnce(what string, err error) {
	if err == nil || r.warned || what == "volumes" && apierrors.IsForbidden(err) {
		return
	}
	r.warned = true
	r.warn.Printf("warning: %s are not counted: %s\n", what, err)
}

// reach connects to the remote cluster once, if the user named it and a node can have
// volumes.
func (r *volumeReader) reach(ctx context.Context, nodes []NodeStatus, used bool) (*kubeclient.Cluster, error) {
	if r.tried || !r.access.NamesRemote() {
		return r.remote, nil
	}
	for i := range nodes {
		if used {
			break
		}
		classes, err := storage.Classes(ctx, r.local, nodes[i].Node)
		if err != nil {
			return nil, err
		}
		used = len(classes) > 0
	}
	if !used {
		return nil, nil //nolint:nilnil // there is nothing to ask it
	}
	r.tried = true
	both, err := r.access.Connect(ctx)
	r.remote = both.Remote // nil after an error
	return r.remote, err
}

// addVolumes counts the node's volumes, and warns of those that are lost or orphans.
func (n *NodeStatus) addVolumes(volumes []storage.Volume) {
	n.Volumes = storage.Count(volumes, n.Node)
	for _, state := range []storage.State{storage.Lost, storage.Orphan} {
		for i := range volumes {
			v := &volumes[i]
			if v.Node != n.Node || v.State != state {
				continue
			}
			what := v.Sentence()
			if more := n.Volumes[state] - 1; more > 0 {
				what += fmt.Sprintf(" (and %d more)", more)
			}
			n.Warnings = append(n.Warnings, Problem{What: what, Fix: v.Fix(n.commands)})
			break
		}
	}
}
