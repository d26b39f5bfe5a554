package provider

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

const (
	// checkInterval is how often akd asks why it is forbidden something in a
	// namespace.
	checkInterval = 5 * time.Second
	// reopenDelay is how long those wait who came while an opening failed.
	reopenDelay = time.Second
)

// opener opens remote namespaces, and closes those that nobody needs. A
// namespace is proved ours before anything in it is watched or written.
type opener struct {
	openerConfig

	watches *store.WatchGroup
	// access is an administrator's until Restore has found out.
	access atomic.Pointer[access]
}

// openerConfig is what an opener works with.
type openerConfig struct {
	mapper     *translate.Mapper
	remote     *cluster.Remote
	namespaces *namespaces
	queue      queue.Adder
	interner   *store.Interner // whose texts cached objects share
	// keys returns the keys to look at once a namespace can be used.
	keys func(localNamespace string) []queue.Key
	// opened follows what else is to be followed of an open namespace, until its
	// context ends.
	opened func(context.Context, *remoteNamespace)
	// mirrorServices says that Services are mirrored, and so to be watched.
	mirrorServices bool
	logger         *slog.Logger
}

func newOpener(config openerConfig) *opener {
	o := &opener{openerConfig: config, watches: store.NewWatchGroup()}
	o.setAccess(administrator{})
	return o
}

func (o *opener) currentAccess() access { return *o.access.Load() }

func (o *opener) setAccess(access access) { o.access.Store(&access) }

// Run watches the open namespaces until ctx ends.
func (o *opener) Run(ctx context.Context) { o.watches.Run(ctx) }

// Restore opens the namespaces that an earlier akd left behind, so that what
// became superfluous meanwhile is found.
func (o *opener) Restore(ctx context.Context) error {
	found, err := o.listExisting(ctx)
	if err != nil {
		return err
	}
	var left []*corev1.Namespace
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(tenantWorkers)
	for i := range found {
		namespace := &found[i]
		if err := o.mapper.OwnsNamespace(namespace, namespace.Labels[contract.LabelNamespace]); err != nil {
			o.logger.Warn("leave a remote namespace alone that seems to be this node's", "namespace", namespace.Name, "reason", err)
			continue
		}
		if namespace.DeletionTimestamp != nil {
			continue
		}
		left = append(left, namespace)
		group.Go(func() error { return o.prepare(groupCtx, namespace) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, namespace := range left {
		o.open(namespace, namespace.Labels[contract.LabelNamespace])
	}
	return nil
}

// listExisting returns the remote namespaces that may be ours: by a list, or,
// if akd may not list them, by its record.
func (o *opener) listExisting(ctx context.Context) ([]corev1.Namespace, error) {
	found, err := store.RetryForbidden(ctx, func() ([]corev1.Namespace, error) { return o.remote.ListMappedNamespaces(ctx) })
	if !apierrors.IsForbidden(err) {
		o.setAccess(administrator{})
		return found, err
	}
	tenant, err := newTenant(ctx, o.remote, o.mapper.Node, o.logger)
	if err != nil {
		return nil, err
	}
	o.setAccess(tenant)
	o.logger.Info("akd is a tenant of the remote cluster: a record says which namespaces are its own",
		"record", contract.SystemNamespace+"/"+contract.RecordName(o.mapper.Node), "as", tenant.subject.Name)
	return tenant.namespaces(ctx)
}

// Ensure returns the remote namespace of a local one, and creates it when there
// is none. It is not ready while it is on its way: its keys are queued when it
// has come.
func (o *opener) Ensure(ctx context.Context, local string) (namespace *remoteNamespace, ready bool, err error) {
	if found := o.namespaces.Get(local); found != nil {
		return found, true, nil
	}
	if !o.namespaces.startOpening(local) {
		return nil, false, nil
	}
	defer o.finishOpening(local)

	remote, err := o.getOrCreate(ctx, local)
	if err != nil {
		return nil, false, err
	}
	if err := o.prepare(ctx, remote); err != nil {
		return nil, false, err
	}
	o.open(remote, local)
	return nil, false, nil
}

// finishOpening wakes those who came meanwhile and found the opening claimed:
// they have nobody else to wake them when it failed.
func (o *opener) finishOpening(local string) {
	if o.namespaces.finishOpening(local) {
		return
	}
	for _, key := range o.keys(local) {
		o.queue.AddAfter(key, reopenDelay)
	}
}

// getOrCreate returns the remote namespace of a local one, which was proved ours
// and recorded.
func (o *opener) getOrCreate(ctx context.Context, local string) (*corev1.Namespace, error) {
	access := o.currentAccess()
	want := o.mapper.Namespace(local)
	namespace, err := o.remote.GetNamespace(ctx, want.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	if err == nil {
		if err := o.checkUsable(namespace, local); err != nil {
			return nil, err
		}
		return namespace, access.record(ctx, want.Name, local)
	}
	if err := access.record(ctx, want.Name, local); err != nil {
		return nil, err
	}
	if namespace, err = o.remote.CreateNamespace(ctx, want); err != nil {
		return nil, err
	}
	return namespace, o.checkUsable(namespace, local)
}

// prepare makes a namespace that was proved ours ready for what akd does in it.
func (o *opener) prepare(ctx context.Context, namespace *corev1.Namespace) error {
	if err := o.currentAccess().enter(ctx, namespace.Name); err != nil {
		return err
	}
	return o.remote.CreateLimits(ctx, o.mapper.Limits(namespace.Labels[contract.LabelNamespace]))
}

// checkUsable returns nil when a namespace is ours and stays.
func (o *opener) checkUsable(namespace *corev1.Namespace, local string) error {
	if err := o.mapper.OwnsNamespace(namespace, local); err != nil {
		return &translate.Refusal{Reason: "RemoteNamespaceRefused", Message: err.Error()}
	}
	if namespace.DeletionTimestamp != nil {
		return fmt.Errorf("remote namespace %s is still being deleted", namespace.Name)
	}
	return nil
}

// open watches what a namespace that is ours holds.
func (o *opener) open(namespace *corev1.Namespace, local string) {
	opened := o.newRemoteNamespace(namespace, local)
	selections := o.selections(opened)
	opened.unread.Store(int32(len(selections)) + 1) //nolint:gosec // a handful
	opened.end = o.watches.Begin(func(ctx context.Context) {
		var watches sync.WaitGroup
		for _, watch := range selections {
			watches.Go(func() { watch(ctx) })
		}
		o.opened(ctx, opened)
		watches.Wait()
	})
	o.namespaces.add(opened)
	o.selectionRead(opened) // the one more: nothing is queued before all find the namespace
}

// selectionRead queues all that a namespace holds, or is to hold, when the last
// of its selections has been read.
func (o *opener) selectionRead(namespace *remoteNamespace) {
	if namespace.unread.Add(-1) > 0 {
		return
	}
	for _, key := range o.keys(namespace.Local) {
		o.queue.Add(key)
	}
}

// Get returns the remote namespace of a local one once what it holds has been
// read, and nil before.
func (o *opener) Get(local string) *remoteNamespace { return o.namespaces.Get(local) }
