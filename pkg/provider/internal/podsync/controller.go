package podsync

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/mirror"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/podsecret"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/storage"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/tick"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// CopyLinger is how long the copies of ConfigMaps and Secrets outlive the last
// pod that referred to them. A replacement pod, such as a StatefulSet's or the
// next one of a Job, then starts without akd reading, deleting and creating
// them again.
const CopyLinger = time.Minute

// Controller syncs one node's pods. It accesses the clusters only through local
// and remote, so that tests can use fakes.
type Controller struct {
	config   Config
	local    *cluster.Local
	remote   *cluster.Remote
	logger   *slog.Logger
	queue    workqueue.TypedRateLimitingInterface[queue.Key]
	recorder *cluster.Recorder

	pods       *store.Store[*corev1.Pod]
	index      *podIndex
	admission  *admission
	services   *mirror.Services
	budgets    *mirror.Budgets
	storage    *storage.Volumes
	references *mirror.References

	bundles      *podsecret.Bundles
	certificates *podsecret.Certificates

	namespaces *namespaces.Set
	opener     *namespaces.Opener
	events     *eventMirror
	guard      *orphanGuard
	reconciler *reconciler
	workers    *queue.Workers
}

// Config configures a Controller.
type Config struct {
	Mapper         *translate.Mapper
	MirrorServices bool // keep copies of the local Services in the remote cluster
	ReachServices  bool // those copies, or another node's, are there
	MirrorBudgets  bool // keep copies of the local PodDisruptionBudgets there
	// RemoteClusterUID identifies the remote cluster, for volumes.
	RemoteClusterUID types.UID
	Workers          int
	Resync           time.Duration                // how often every pod is reconciled again; 0 for never
	UnusedTTL        time.Duration                // how long an unused remote namespace is kept
	Linger           time.Duration                // how long the objects of the last pod are kept
	MaxReferences    int                          // how many ConfigMaps and Secrets are watched at most; 0 for any number
	Sizes            func() []corev1.ResourceList // what the largest remote nodes can give to pods; none if not known
	MaxOrphanShare   float64                      // the share of remote pods that may be deleted at once as orphans
	Clock            clock.WithTicker
	QueueMetrics     workqueue.MetricsProvider
	Observe          func(result string, took time.Duration) // called after each reconcile
	CountToken       func(error)                             // called after each renewal of a pod's tokens
}

// New returns a Controller between the two clusters; it starts nothing.
func New(local *cluster.Local, remote *cluster.Remote, config Config, logger *slog.Logger) *Controller {
	c := &Controller{
		config:   config,
		local:    local,
		remote:   remote,
		logger:   logger,
		queue:    queue.New(config.QueueMetrics),
		recorder: cluster.NewRecorder(local),
	}
	interner := store.NewInterner()
	c.followLocal(interner)
	c.followRemote(interner)
	c.reconciler = c.newReconciler()
	c.workers = queue.NewWorkers(queue.WorkersConfig{
		Queue:     c.queue,
		Reconcile: c.reconciler.reconcile,
		Observe:   config.Observe,
		Clock:     config.Clock,
		Logger:    logger,
	})
	return c
}

// followLocal creates the parts that read the local cluster.
func (c *Controller) followLocal(interner *store.Interner) {
	c.index = newPodIndex(c.config.Clock)
	c.pods = store.New(store.Handlers[*corev1.Pod]{
		Changed: c.localPodChanged,
		Last:    c.index.keepDeletion,
		Trim: func(pod *corev1.Pod) {
			c.config.Mapper.TrimLocal(pod)
			interner.Share(pod)
		},
	})
	c.admission = newAdmission(c.pods, c.local.GetNode, c.config.Sizes)
	c.references = mirror.NewReferences(mirror.ReferencesConfig{
		Local:  c.local,
		Queue:  c.queue,
		Linger: c.config.Linger,
		Limit:  c.config.MaxReferences,
	})
	c.bundles = podsecret.NewBundles(c.local, c.bundlesChanged)
	c.certificates = podsecret.NewCertificates(c.local, c.recorder, c.config.Clock, c.changed(queue.Pod))
}

// followRemote creates the parts that read the remote cluster and mirror
// Services into it.
func (c *Controller) followRemote(interner *store.Interner) {
	c.events = newEventMirror(c.config.Mapper, c.local, c.remote, c.pods, c.logger)
	c.namespaces = namespaces.NewSet(c.config.Clock)
	c.opener = namespaces.NewOpener(namespaces.OpenerConfig{
		Mapper:         c.config.Mapper,
		Remote:         c.remote,
		Namespaces:     c.namespaces,
		Queue:          c.queue,
		Interner:       interner,
		Keys:           c.keys,
		Opened:         c.events.watch,
		Ended:          c.index.keepLast,
		MirrorServices: c.config.MirrorServices,
		MirrorBudgets:  c.config.MirrorBudgets,
		Storage:        c.config.Mapper.Storage,
		Logger:         c.logger,
	})
	c.services = mirror.NewServices(mirror.ServicesConfig{
		Enabled:  c.config.MirrorServices,
		Reached:  c.config.ReachServices,
		Mapper:   c.config.Mapper,
		Local:    c.local,
		Remote:   c.remote,
		Opener:   c.opener,
		Queue:    c.queue,
		Recorder: c.recorder,
	})
	c.budgets = mirror.NewBudgets(mirror.BudgetsConfig{
		Enabled:  c.config.MirrorBudgets,
		Local:    c.local,
		Remote:   c.remote,
		Opener:   c.opener,
		Pods:     c.pods,
		Queue:    c.queue,
		Recorder: c.recorder,
		Clock:    c.config.Clock,
	})
	c.storage = storage.New(storage.Config{
		Enabled:          c.config.Mapper.Storage,
		Mapper:           c.config.Mapper,
		RemoteClusterUID: c.config.RemoteClusterUID,
		Local:            c.local,
		Remote:           c.remote,
		Opener:           c.opener,
		Pods:             c.pods,
		Queue:            c.queue,
		Recorder:         c.recorder,
		Clock:            c.config.Clock,
	})
	if c.config.Mapper.Storage {
		c.events.claim = c.storage.LocalClaim
	}
	c.guard = &orphanGuard{
		local:      c.index,
		namespaces: c.namespaces,
		limit:      c.config.MaxOrphanShare,
		queue:      c.queue,
		logger:     c.logger,
	}
}

func (c *Controller) newReconciler() *reconciler {
	return newReconciler(reconcilerConfig{
		mapper:     c.config.Mapper,
		local:      c.local,
		remote:     c.remote,
		namespaces: c.namespaces,
		opener:     c.opener,
		pods:       c.pods,
		index:      c.index,
		guard:      c.guard,
		admission:  c.admission,
		tokens: podsecret.New(podsecret.Config{
			Local:        c.local,
			Remote:       c.remote,
			Bundles:      c.bundles,
			Certificates: c.certificates,
			Queue:        c.queue,
			Clock:        c.config.Clock,
			Count:        c.config.CountToken,
		}),
		services:   c.services,
		budgets:    c.budgets,
		storage:    c.storage,
		references: c.references,
		configMaps: mirror.NewConfigMaps(c.remote, c.references.ConfigMaps, c.queue),
		secrets:    mirror.NewSecrets(c.remote, c.references.Secrets, c.queue),
		recorder:   c.recorder,
		queue:      c.queue,
		clock:      c.config.Clock,
	})
}

// changed returns a function that queues an object of that kind.
func (c *Controller) changed(kind queue.Kind) func(namespace, name string) {
	return func(namespace, name string) { c.queue.Add(kind.Key(namespace, name)) }
}

// localPodChanged updates the state derived from local pods, and queues the
// pod.
func (c *Controller) localPodChanged(change store.Change[*corev1.Pod]) {
	pod := change.Object()
	c.index.observe(change)
	c.admission.podChanged(change)
	c.budgets.PodChanged(change)
	needs := c.follow(change)
	if len(needs.Bundles) > 0 {
		c.bundles.Need()
	}
	if len(needs.Certificates) > 0 {
		c.certificates.Need()
	}
	if change.New == nil || change.Old != nil && change.Old.UID != change.New.UID {
		c.queue.Add(queue.Secret.Key(pod.Namespace, contract.TokenSecretName(change.Old.UID)))
		c.reconciler.gone.add(queue.Pod.Key(pod.Namespace, pod.Name), change.Old.UID)
	}
	c.queue.Add(queue.Pod.Key(pod.Namespace, pod.Name))
}

// follow watches what a pod refers to while it may run.
func (c *Controller) follow(change store.Change[*corev1.Pod]) translate.Needs {
	id := podID(change.Object())
	if change.New == nil || translate.Finished(change.New) {
		c.references.Use(id, translate.Needs{})
		return translate.Needs{}
	}
	if change.Old == nil && change.New.Status.StartTime != nil {
		c.references.Adopt(id, translate.AdmittedNeeds(change.New))
	}
	needs := c.config.Mapper.NeedsOf(change.New)
	c.references.Use(id, needs)
	return needs
}

// bundlesChanged queues the pods that mount trust anchors.
func (c *Controller) bundlesChanged() {
	for _, pod := range c.pods.All() {
		if translate.HasBundles(pod) {
			c.queue.Add(queue.Pod.Key(pod.Namespace, pod.Name))
		}
	}
}

// NodeChanged sets the Node as the local cluster has it, or nil if it was
// deleted.
func (c *Controller) NodeChanged(node *corev1.Node) { c.admission.nodeChanged(node) }

// keys returns the keys to reconcile once a namespace can be used: its local
// pods, and all existing remote objects.
func (c *Controller) keys(localNamespace string) []queue.Key {
	var keys []queue.Key
	for _, pod := range c.pods.In(localNamespace) {
		keys = append(keys, queue.Pod.Key(localNamespace, pod.Name))
	}
	opened := c.namespaces.Get(localNamespace)
	keys = append(keys, c.services.Keys(localNamespace, opened)...)
	keys = append(keys, c.budgets.Keys(localNamespace, opened)...)
	keys = append(keys, c.storage.Keys(localNamespace, opened)...)
	if opened == nil {
		return keys
	}
	for _, pod := range opened.Pods.All() {
		keys = append(keys, queue.Pod.Key(localNamespace, pod.Name))
	}
	for _, configMap := range opened.ConfigMaps.All() {
		keys = append(keys, queue.ConfigMap.Key(localNamespace, contract.LocalName(configMap.Name)))
	}
	for _, secret := range opened.Secrets.All() {
		keys = append(keys, queue.Secret.Key(localNamespace, contract.LocalName(secret.Name)))
	}
	return keys
}

// Run syncs pods until ctx ends, and returns once everything that it runs has
// ended. It calls synced once everything has been read and before anything is
// written: nothing is deleted before both clusters have been read.
func (c *Controller) Run(ctx context.Context, synced func()) error {
	stopRecorder := c.record(ctx)
	defer stopRecorder()
	defer c.queue.ShutDown() // if ctx ends before the workers begin
	group, ctx := errgroup.WithContext(ctx)
	for _, run := range []func(context.Context){
		func(ctx context.Context) { c.pods.Run(ctx, c.local.Pods()) },
		c.services.Run,
		c.budgets.Run,
		c.storage.Run,
		c.events.run,
		c.references.Run,
		c.bundles.Run,
		c.certificates.Run,
		c.opener.Run,
	} {
		group.Go(func() error { run(ctx); return nil })
	}
	group.Go(func() error {
		if err := c.waitSynced(ctx); err != nil {
			return err
		}
		synced()
		group.Go(func() error { c.collectGarbage(ctx); return nil })
		group.Go(func() error { c.resync(ctx); return nil })
		c.workers.Run(ctx, c.config.Workers)
		return nil
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// record writes akd's own events until stop is called, which happens after ctx
// ends, because the last reconciles record events too.
func (c *Controller) record(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var recording sync.WaitGroup
	recording.Go(func() { c.recorder.Run(ctx) })
	return func() {
		cancel()
		recording.Wait()
	}
}

// waitSynced returns once the local pods, services, budgets and volumes, and the remote
// objects of earlier akds, have been read.
func (c *Controller) waitSynced(ctx context.Context) error {
	c.events.ignoreBefore(c.lastAlive(ctx))
	err := untilDone(ctx, func() bool {
		return c.pods.HasSynced() && c.services.HasSynced() && c.budgets.HasSynced() && c.storage.HasSynced()
	})
	if err != nil {
		return err
	}
	if err := c.restoreNamespaces(ctx); err != nil {
		return err
	}
	return untilDone(ctx, c.namespaces.Read)
}

// pruneCopies forgets what is known of copies in namespaces without pods that are not open.
func (c *Controller) pruneCopies() {
	open := map[string]bool{}
	for _, namespace := range c.namespaces.All() {
		open[namespace.Local] = true
	}
	keep := func(local string) bool { return open[local] || len(c.pods.In(local)) > 0 }
	c.reconciler.configMaps.Prune(keep)
	c.reconciler.secrets.Prune(keep)
	c.budgets.Prune()
	c.storage.Prune()
}

// restoreNamespaces waits until the remote API server responds: an unreachable
// one is no reason to give up the node.
func (c *Controller) restoreNamespaces(ctx context.Context) error {
	backoff := wait.Backoff{Duration: time.Second, Cap: 15 * time.Second, Steps: 5, Factor: 2}
	return backoff.DelayFunc().Until(ctx, true, false, func(ctx context.Context) (bool, error) {
		err := c.opener.Restore(ctx)
		if err != nil && ctx.Err() == nil {
			c.logger.Warn("the remote namespaces that an earlier akd left cannot be found; trying again", "error", err)
		}
		return err == nil, nil
	})
}

// untilDone asks more and more seldom: what takes a day is found a second late.
func untilDone(ctx context.Context, done func() bool) error {
	backoff := wait.Backoff{Duration: 20 * time.Millisecond, Cap: time.Second, Steps: 50, Factor: 1.1}
	return backoff.DelayFunc().Until(ctx, true, false, func(context.Context) (bool, error) { return done(), nil })
}

// lastAlive returns the time since which remote events may not have been
// mirrored: shortly before the last renewal of the node's lease.
func (c *Controller) lastAlive(ctx context.Context) time.Time {
	const margin = time.Minute
	renewed := c.local.LastRenewed(ctx)
	if renewed.IsZero() {
		renewed = c.config.Clock.Now()
	}
	return renewed.Add(-margin)
}

// resync queues every pod at intervals, for changes that no watch reports.
func (c *Controller) resync(ctx context.Context) {
	if c.config.Resync == 0 {
		return
	}
	tick.Every(ctx, c.config.Clock, c.config.Resync, func(context.Context) {
		for _, namespace := range c.namespaces.All() {
			for _, key := range c.keys(namespace.Local) {
				c.queue.Add(key)
			}
		}
	})
}

// remoteOwners returns the UIDs of the local pods that have a remote pod.
func (c *Controller) remoteOwners() map[types.UID]bool {
	owners := map[types.UID]bool{}
	for _, pod := range c.namespaces.Pods() {
		owners[types.UID(pod.Labels[contract.LabelUID])] = true
	}
	return owners
}

// collectGarbage deletes unused namespaces and prunes old records.
func (c *Controller) collectGarbage(ctx context.Context) {
	interval := min(max(c.config.UnusedTTL/5, time.Second), time.Minute)
	used := func(namespace *namespaces.Namespace) bool {
		return len(c.pods.In(namespace.Local)) > 0 || c.services.Uses(namespace.Local) || c.storage.Uses(namespace)
	}
	tick.Every(ctx, c.config.Clock, interval, func(ctx context.Context) {
		if c.namespaces.Read() {
			c.index.prune(c.remoteOwners())
		}
		c.reconciler.slowdown.prune()
		c.pruneCopies()
		err := c.opener.DeleteUnused(ctx, c.config.Clock.Now(), c.config.UnusedTTL, used)
		if err != nil && !apierrors.IsForbidden(err) {
			c.logger.Debug("unused remote namespace not deleted yet", "error", err)
		}
		if err := c.opener.SyncRecord(ctx); err != nil && ctx.Err() == nil {
			c.logger.Warn("the record of remote namespaces is not up to date", "error", err)
		}
	})
}
