package namespaces

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
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
	// checkInterval is how often akd checks why it is forbidden something in a
	// namespace.
	checkInterval = 5 * time.Second
	// endingInterval is how often akd looks for the end of a namespace that it needs
	// and somebody deletes.
	endingInterval = time.Second
	// seenFor is how long a namespace that was seen is not looked for again. It is longer
	// than endingInterval, so that whoever waits for the end of one asks for all.
	seenFor = 3 * endingInterval / 2
)

// errEnding means that a namespace is being deleted: it will be made again.
var errEnding = errors.New("is still being deleted")

// errMayVanish means that a namespace may be deleted by a request that had no answer.
var errMayVanish = fmt.Errorf("may hold volumes, and may still be deleted by a request of akd that had no answer: "+
	"it is used again %s after that", answerTime)

// Opener opens remote namespaces and closes unused ones. It verifies that akd
// owns a namespace before it watches or writes anything in it.
type Opener struct {
	OpenerConfig

	watches *store.WatchGroup
	// access is an administrator's until Restore has detected the actual one.
	access atomic.Pointer[access]
}

// OpenerConfig configures an Opener.
type OpenerConfig struct {
	Mapper     *translate.Mapper
	Remote     *cluster.Remote
	Namespaces *Set
	Queue      queue.Adder
	Interner   *store.Interner // shares the strings of cached objects
	// Keys returns the keys to reconcile once a namespace can be used.
	Keys func(localNamespace string) []queue.Key
	// Opened runs further watches of an open namespace until its context ends.
	Opened func(context.Context, *Namespace)
	// Ended is called with the last state of each remote pod; see store.Handlers.
	Ended func(*corev1.Pod)
	// MirrorServices enables the watches that mirrored Services need.
	MirrorServices bool
	// MirrorBudgets does the same for PodDisruptionBudgets.
	MirrorBudgets bool
	// Storage does the same for PersistentVolumeClaims.
	Storage bool
	Logger  *slog.Logger
}

// NewOpener returns an opener that assumes that akd is an administrator until
// Restore has detected its actual access.
func NewOpener(config OpenerConfig) *Opener {
	o := &Opener{OpenerConfig: config, watches: store.NewWatchGroup()}
	o.setAccess(administrator{})
	return o
}

func (o *Opener) currentAccess() access { return *o.access.Load() }

func (o *Opener) setAccess(access access) { o.access.Store(&access) }

// Run watches the open namespaces until ctx ends.
func (o *Opener) Run(ctx context.Context) { o.watches.Run(ctx) }

// Restore opens the namespaces that an earlier akd left behind, so that objects
// that have become unnecessary since are found. Those that it was about to delete are
// deleted.
func (o *Opener) Restore(ctx context.Context) error {
	found, err := o.listExisting(ctx)
	if err != nil {
		return err
	}
	left := o.own(found)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(tenantWorkers)
	for _, namespace := range left {
		group.Go(func() error {
			if err := o.prepare(groupCtx, namespace); err != nil {
				return err
			}
			o.dropBudgets(groupCtx, namespace.Name)
			return o.noteDoomed(groupCtx, namespace)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, local := range slices.Sorted(maps.Keys(left)) {
		if !o.Namespaces.deletes(left[local].UID) { // which may have been noted minutes ago, before an error
			o.open(left[local], local)
		}
	}
	return nil
}

// own returns by local namespace those that akd owns, also if they are being
// deleted: akd has to let go of the pods in them. akd never makes two for one local
// namespace. If somebody else did, it takes the one that it would find first without
// Restore.
func (o *Opener) own(found []corev1.Namespace) map[string]*corev1.Namespace {
	own := map[string]*corev1.Namespace{}
	for i := range found {
		namespace := &found[i]
		local := namespace.Labels[contract.LabelNamespace]
		if err := o.Mapper.OwnsNamespace(namespace, local); err != nil {
			o.Logger.Warn("leave a remote namespace alone that seems to be this node's", "namespace", namespace.Name, "reason", err)
			continue
		}
		if own[local] == nil || namespace.Name == contract.RemoteNamespace(o.Mapper.Node, local) {
			own[local] = namespace
		}
	}
	return own
}

// listExisting returns the remote namespaces that akd may own: from a list or, if
// akd has no rights in all namespaces, from its record.
func (o *Opener) listExisting(ctx context.Context) ([]corev1.Namespace, error) {
	found, err := store.RetryForbidden(ctx, func() ([]corev1.Namespace, error) { return o.Remote.ListMappedNamespaces(ctx) })
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, err
	}
	if err == nil {
		// A tenant may have been granted to list namespaces; what counts are rights in them.
		missing, err := o.Remote.MissingRight(ctx)
		if err != nil {
			return nil, err
		}
		if missing == "" {
			o.setAccess(administrator{})
			return found, nil
		}
	}
	tenant, err := newTenant(ctx, o.Remote, o.Mapper.Node, o.Logger)
	if err != nil {
		return nil, err
	}
	o.setAccess(tenant)
	o.Logger.Info("akd is a tenant of the remote cluster: a record says which namespaces are its own",
		"record", contract.SystemNamespace+"/"+contract.RecordName(o.Mapper.Node), "as", tenant.subject.Name)
	return tenant.namespaces(ctx)
}

// Ensure returns the remote namespace of a local one, and creates it if there
// is none. ready is false while it is being opened: its keys are queued once it
// is open. All of them share one back-off of failed openings, and the error.
func (o *Opener) Ensure(ctx context.Context, local string) (namespace *Namespace, ready bool, err error) {
	if found := o.Namespaces.Get(local); found != nil {
		return found, true, nil
	}
	claimed, err := o.Namespaces.startOpening(local)
	if !claimed {
		return nil, false, err
	}
	err = o.getOrCreateAndOpen(ctx, local)
	o.finishOpening(local, err)
	return nil, false, err
}

func (o *Opener) getOrCreateAndOpen(ctx context.Context, local string) error {
	remote, err := o.getOrCreate(ctx, local)
	switch {
	case remote != nil && errors.Is(err, errEnding):
		return o.openEnding(ctx, remote, local, err)
	case err != nil:
		return err
	}
	return o.prepareAndOpen(ctx, remote, local)
}

// openEnding opens a namespace that is being deleted and has pods that nobody watches, as after
// a restore of the remote cluster: it cannot end before akd has let go of them. Otherwise, it
// returns ending, the reason to wait.
func (o *Opener) openEnding(ctx context.Context, remote *corev1.Namespace, local string, ending error) error {
	if hasPods, err := o.Remote.HasPods(ctx, remote.Name); err != nil || !hasPods {
		return ending // without rights in it any more, nobody but its administrator can help
	}
	o.open(remote, local)
	return nil
}

func (o *Opener) prepareAndOpen(ctx context.Context, namespace *corev1.Namespace, local string) error {
	if err := o.prepare(ctx, namespace); err != nil {
		return err
	}
	o.open(namespace, local)
	return nil
}

// finishOpening ends an opening. If it failed, the keys of the namespace are queued for
// the next attempt: those that found it claimed would be queued by nothing else.
func (o *Opener) finishOpening(local string, err error) {
	longest := reopenLongest
	if errors.Is(err, errEnding) {
		longest = endingInterval
	}
	next, open := o.Namespaces.finishOpening(local, err, longest)
	if open {
		return
	}
	for _, key := range o.Keys(local) {
		o.Queue.AddAfter(key, next)
	}
}

// getOrCreate returns the remote namespace of a local one, verified as akd's
// own and recorded. With errEnding, it returns the one that is being deleted.
func (o *Opener) getOrCreate(ctx context.Context, local string) (*corev1.Namespace, error) {
	access := o.currentAccess()
	namespace, free, err := o.find(ctx, local)
	if err != nil {
		return namespace, err
	}
	if namespace != nil {
		if err := o.noteDoomed(ctx, namespace); err != nil {
			return nil, err
		}
		if o.Namespaces.mayVanish(namespace.UID) {
			if err := o.settleDeletion(ctx, namespace); err != nil {
				return nil, err
			}
		}
		return namespace, access.record(ctx, namespace.Name, local)
	}
	if err := access.record(ctx, free, local); err != nil {
		return nil, err
	}
	if namespace, err = o.Remote.CreateNamespace(ctx, o.Mapper.In(free).Namespace(local)); err != nil {
		if !cluster.HasRefused(err) {
			o.Namespaces.noteUnclear(local)
		}
		return nil, err
	}
	return namespace, o.checkUsable(namespace, local)
}

// find returns the remote namespace of a local one. If there is none, it returns
// the name to create it with: the first one that no other local namespace of this
// node has. It looks at all names before, because the namespace that has the first
// name may be gone by now.
func (o *Opener) find(ctx context.Context, local string) (existing *corev1.Namespace, free string, err error) {
	names := contract.RemoteNamespaces(o.Mapper.Node, local)
	for _, name := range names {
		namespace, err := o.Remote.GetNamespace(ctx, name)
		switch {
		case apierrors.IsNotFound(err):
			free = cmp.Or(free, name)
		case err != nil:
			return nil, "", err
		case o.owns(namespace, local) || free == "" && !o.Mapper.ServesAnother(namespace, local):
			return namespace, "", o.checkUsable(namespace, local)
		}
	}
	if free == "" {
		return nil, "", &translate.Refusal{Reason: translate.ReasonNamespaceRefused, Message: fmt.Sprintf(
			"Both remote namespaces that local namespace %s can have, %s, serve other local namespaces of node %s: use another local namespace.",
			local, strings.Join(names[:], " and "), o.Mapper.Node)}
	}
	return nil, free, nil
}

// Lacks reports whether the remote cluster has no namespace of akd's for a local one.
// It asks the API server, not a cache, but once for all of its pods while there is one.
func (o *Opener) Lacks(ctx context.Context, local string) (bool, error) {
	if o.Namespaces.wasSeen(local) {
		return false, nil
	}
	for _, name := range contract.RemoteNamespaces(o.Mapper.Node, local) {
		namespace, err := o.Remote.GetNamespace(ctx, name)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return false, err
		}
		if o.owns(namespace, local) {
			return false, nil
		}
	}
	return true, nil
}

// owns reports whether a remote namespace is akd's own for a local one, and notes that
// there is one.
func (o *Opener) owns(namespace *corev1.Namespace, local string) bool {
	owns := o.Mapper.OwnsNamespace(namespace, local) == nil
	if owns {
		o.Namespaces.see(local)
	}
	return owns
}

// prepare gives akd its rights in a namespace that has been verified as its
// own. In one that is being deleted it has those that it has.
func (o *Opener) prepare(ctx context.Context, namespace *corev1.Namespace) error {
	if namespace.DeletionTimestamp != nil {
		return nil
	}
	if err := o.currentAccess().enter(ctx, namespace.Name); err != nil {
		return err
	}
	return o.Remote.CreateLimits(ctx, o.Mapper.In(namespace.Name).Limits(namespace.Labels[contract.LabelNamespace]))
}

// dropBudgets deletes the PodDisruptionBudgets of an earlier akd that mirrored them: nobody
// would follow the local ones, and they would hold pods for ever. An akd that never did has
// no right to look for any.
func (o *Opener) dropBudgets(ctx context.Context, namespace string) {
	if o.MirrorBudgets {
		return
	}
	left, err := o.Remote.ListDisruptionBudgets(ctx, namespace)
	for i := range left {
		err = errors.Join(err, o.Remote.DisruptionBudgetWriter().Delete(ctx, &left[i]))
	}
	if err != nil && !apierrors.IsForbidden(err) && ctx.Err() == nil {
		o.Logger.Warn("poddisruptionbudgets of an earlier akd may be left, and keep pods from being evicted: "+
			"delete them in the remote cluster", "namespace", namespace, "error", err)
	}
}

// checkUsable returns nil if akd owns the namespace and it is not being
// deleted.
func (o *Opener) checkUsable(namespace *corev1.Namespace, local string) error {
	if err := o.Mapper.OwnsNamespace(namespace, local); err != nil {
		return &translate.Refusal{Reason: translate.ReasonNamespaceRefused, Message: err.Error()}
	}
	if namespace.DeletionTimestamp != nil {
		return fmt.Errorf("remote namespace %s %w", namespace.Name, errEnding)
	}
	return nil
}

// open watches the content of a namespace that akd owns.
func (o *Opener) open(namespace *corev1.Namespace, local string) {
	opened := o.newRemoteNamespace(namespace, local)
	selections := o.selections(opened)
	opened.unread.Store(int32(len(selections)) + 1) //nolint:gosec // a handful
	opened.end = o.watches.Begin(func(ctx context.Context) {
		var watches sync.WaitGroup
		for _, watch := range selections {
			watches.Go(func() { watch(ctx) })
		}
		o.Opened(ctx, opened)
		watches.Wait()
	})
	o.Namespaces.add(opened)
	o.whenRead(opened)() // for the extra count: nothing is queued before the namespace is in the Set
}

// whenRead returns what to call when one of a namespace's selections has been read or
// refused, and again if one that was refused has been read. Each time, unless others are
// still unread, it queues all keys of the namespace, of existing and of wanted objects.
func (o *Opener) whenRead(namespace *Namespace) func() {
	count := sync.OnceFunc(func() { namespace.unread.Add(-1) })
	return func() {
		count()
		if namespace.read() {
			o.queueAll(namespace.Local)
		}
	}
}

// queueAll queues all keys of a local namespace.
func (o *Opener) queueAll(local string) {
	for _, key := range o.Keys(local) {
		o.Queue.Add(key)
	}
}

// Get returns the remote namespace of a local one, or nil until its content has
// been read.
func (o *Opener) Get(local string) *Namespace { return o.Namespaces.Get(local) }
