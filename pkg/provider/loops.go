package provider

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// releasePause is how long a released pod has to be gone before it is released
// once more.
const releasePause = 10 * time.Second

// copyLinger is how long the copies of ConfigMaps and Secrets outlive the last
// pod that referred to them: a pod that is replaced by another, as a
// StatefulSet's or the next of a Job, then starts without them being read,
// deleted and created once more.
const copyLinger = time.Minute

// loops are the parts that turn one node's pods, wired together. They know the
// clusters through clients only, so that tests can give fake ones.
type loops struct {
	settings   loopSettings
	local      *localCluster
	remote     *remoteCluster
	logger     *slog.Logger
	queue      workqueue.TypedRateLimitingInterface[key]
	pods       *objects[*corev1.Pod]
	services   *serviceMirror
	register   *register
	brake      *brake
	spaces     *spaces
	events     *eventMirror
	configMaps *references[*corev1.ConfigMap]
	secrets    *references[*corev1.Secret]
	bundles    *bundles
	issuers    *certificates
	reconciler *reconciler
	controller *controller
}

// loopSettings are the settings of the loops.
type loopSettings struct {
	mapper         *translate.Mapper
	workers        int
	resync         time.Duration // how often every pod is looked at again; 0 for never
	unusedTTL      time.Duration // how long an unused remote namespace is kept
	linger         time.Duration // how long what the last pod referred to is kept
	maxOrphanShare float64
	clock          clock.PassiveClock
	queueMetrics   workqueue.MetricsProvider
	observe        func(result string, took time.Duration)
	countToken     func(result string)
}

// newLoops wires the loops; it starts nothing.
func newLoops(local *localCluster, remote *remoteCluster, settings loopSettings, logger *slog.Logger) *loops {
	l := &loops{settings: settings, local: local, remote: remote, logger: logger, queue: newQueue(settings.queueMetrics), register: newRegister(settings.clock)}
	var shared words
	l.pods = newObjects(l.localPodChanged, func() {})
	l.pods.trim = func(pod *corev1.Pod) { shared.share(pod) }
	l.configMaps = newReferences[*corev1.ConfigMap](local.configMap, func(namespace, name string) { l.queue.Add(key{kindConfigMap, namespace, name}) }, settings.linger)
	l.secrets = newReferences[*corev1.Secret](local.secret, func(namespace, name string) { l.queue.Add(key{kindSecret, namespace, name}) }, settings.linger)
	l.bundles = newBundles(local.trustBundles, l.bundlesChanged)
	l.issuers = newCertificates(local, settings.clock, func(namespace, pod string) { l.queue.Add(key{kindPod, namespace, pod}) })
	l.events = newEventMirror(settings.mapper, local, l.pods, logger)
	l.spaces = &spaces{
		mapper: settings.mapper, remote: remote, events: l.events, queue: l.queue, logger: logger, remap: l.keysOf, words: &shared,
		open: map[string]*space{}, opening: map[string]bool{},
	}
	l.services = newServiceMirror(settings.mapper, l.spaces, l.queue, remote)
	l.services.on, l.spaces.services = local.proxy != nil, local.proxy != nil
	l.brake = &brake{local: l.register, spaces: l.spaces, limit: settings.maxOrphanShare, logger: logger}
	l.reconciler = &reconciler{
		mapper: settings.mapper, local: local, remote: remote, spaces: l.spaces, pods: l.pods, services: l.services,
		register: l.register, brake: l.brake, admission: newAdmission(l.pods, local.ownNode), batch: newBatch(settings.clock), released: newPauses(settings.clock, releasePause), queue: l.queue, clock: settings.clock, logger: logger,
		tokens: &tokens{
			mapper: settings.mapper, local: local, remote: remote, bundles: l.bundles, issuers: l.issuers, queue: l.queue, clock: settings.clock, count: settings.countToken,
		},
	}
	l.reconciler.configMaps = &copies[*corev1.ConfigMap]{
		keeper: keeper[*corev1.ConfigMap]{
			kind: kindConfigMap, writer: remote.configMapWriter(), copied: func(s *space) *objects[*corev1.ConfigMap] { return s.configMaps },
			same: translate.SameConfigMap, fixed: func(have, _ *corev1.ConfigMap) bool { return isTrue(have.Immutable) },
		},
		references: l.configMaps, queue: l.queue, remoteName: contract.ConfigMapName, translate: settings.mapper.ConfigMap,
		waiting: map[key]map[key]bool{},
	}
	l.reconciler.secrets = &copies[*corev1.Secret]{
		keeper: keeper[*corev1.Secret]{
			kind: kindSecret, writer: remote.secretWriter(), copied: func(s *space) *objects[*corev1.Secret] { return s.secrets },
			same: translate.SameSecret, fixed: func(have, want *corev1.Secret) bool { return isTrue(have.Immutable) || have.Type != want.Type },
		},
		references: l.secrets, queue: l.queue, remoteName: func(name string) string { return name }, translate: settings.mapper.Secret,
		waiting: map[key]map[key]bool{},
	}
	l.controller = &controller{queue: l.queue, reconcile: l.reconciler.reconcile, observe: settings.observe, logger: logger}
	return l
}

func isTrue(b *bool) bool { return b != nil && *b }

// localPodChanged keeps what is derived from local pods, and queues the pod.
func (l *loops) localPodChanged(c change[*corev1.Pod]) {
	pod := either(c)
	l.register.note(c)
	l.reconciler.admission.podChanged(c)
	id := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
	var needs translate.Needs
	if c.new != nil && !translate.Finished(c.new) {
		needs = translate.NeedsOf(c.new)
	}
	l.configMaps.use(id, needs.ConfigMaps)
	l.secrets.use(id, needs.Secrets)
	if len(needs.Bundles) > 0 {
		l.bundles.use()
	}
	if len(needs.Certificates) > 0 {
		l.issuers.use()
	}
	if c.new == nil || c.old != nil && c.old.UID != c.new.UID {
		l.queue.Add(key{kindSecret, pod.Namespace, contract.TokenSecretName(c.old.UID)})
		l.reconciler.batch.written(c.old.UID)
		l.reconciler.released.forget(c.old.UID)
		l.issuers.forget(c.old.UID)
	}
	l.queue.Add(key{kindPod, pod.Namespace, pod.Name})
}

// bundlesChanged queues the pods that mount trust anchors.
func (l *loops) bundlesChanged() {
	for _, pod := range l.pods.all() {
		if translate.HasBundles(pod) {
			l.queue.Add(key{kindPod, pod.Namespace, pod.Name})
		}
	}
}

// keysOf returns what to look at once a namespace can be used: its local pods,
// and whatever is already there remotely.
func (l *loops) keysOf(localNamespace string) []key {
	var keys []key
	for _, pod := range l.pods.in(localNamespace) {
		keys = append(keys, key{kindPod, localNamespace, pod.Name})
	}
	space := l.spaces.get(localNamespace)
	keys = append(keys, l.services.keysOf(localNamespace, space)...)
	if space == nil {
		return keys
	}
	for _, pod := range space.pods.all() {
		keys = append(keys, key{kindPod, localNamespace, pod.Name})
	}
	for _, configMap := range space.configMaps.all() {
		keys = append(keys, key{kindConfigMap, localNamespace, contract.LocalConfigMapName(configMap.Name)})
	}
	for _, secret := range space.secrets.all() {
		keys = append(keys, key{kindSecret, localNamespace, secret.Name})
	}
	return keys
}

// run turns the loops until ctx ends, and returns when all of them have ended.
// synced is called once everything has been read and before anything is
// written: nothing destructive happens on half a view.
func (l *loops) run(ctx context.Context, synced func()) error {
	group, ctx := errgroup.WithContext(ctx)
	recorder, stopRecorder := l.newRecorder()
	l.reconciler.recorder, l.services.recorder, l.issuers.recorder = recorder, recorder, recorder
	l.configMaps.start(ctx)
	l.secrets.start(ctx)
	l.bundles.start(ctx)
	l.issuers.start(ctx)
	group.Go(func() error { l.pods.run(ctx, l.local.pods()); return nil })
	group.Go(func() error { l.services.services.run(ctx, l.local.services()); return nil })
	if l.services.on {
		group.Go(func() error { l.services.slices.run(ctx, l.local.endpointSlices()); return nil })
	}
	group.Go(func() error { l.events.run(ctx); return nil })
	group.Go(func() error {
		<-ctx.Done()
		l.spaces.wait()
		l.configMaps.wait()
		l.secrets.wait()
		l.bundles.wait()
		l.issuers.wait()
		stopRecorder()
		return nil
	})
	group.Go(func() error {
		if err := l.waitSynced(ctx); err != nil {
			return err
		}
		synced()
		group.Go(func() error { l.housekeep(ctx); return nil })
		group.Go(func() error { l.lookAgain(ctx); return nil })
		l.controller.run(ctx, l.settings.workers)
		return nil
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// waitSynced returns when the local pods and services, and what earlier akds
// left in the remote cluster, have been read.
func (l *loops) waitSynced(ctx context.Context) error {
	l.events.since = l.lastAlive(ctx)
	err := untilDone(ctx, func() bool { return l.pods.hasSynced() && l.services.hasSynced() })
	if err != nil {
		return err
	}
	if err := l.findSpaces(ctx); err != nil {
		return err
	}
	return untilDone(ctx, l.spaces.known)
}

// findSpaces waits for a remote API server that answers: one that does not is
// no reason to give up the node.
func (l *loops) findSpaces(ctx context.Context) error {
	const interval = 2 * time.Second
	return wait.PollUntilContextCancel(ctx, interval, true, func(ctx context.Context) (bool, error) {
		err := l.spaces.start(ctx)
		if err != nil && ctx.Err() == nil {
			l.logger.Warn("the remote namespaces that an earlier akd left cannot be found; trying again", "error", err)
		}
		return err == nil, nil
	})
}

func untilDone(ctx context.Context, done func() bool) error {
	return wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(context.Context) (bool, error) { return done(), nil })
}

// lastAlive returns since when remote events may not have been repeated: a
// little before the last renewal of the node's lease.
func (l *loops) lastAlive(ctx context.Context) time.Time {
	const margin = time.Minute
	lease, err := l.local.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, l.local.node, metav1.GetOptions{})
	if err != nil || lease.Spec.RenewTime == nil {
		return l.settings.clock.Now().Add(-margin)
	}
	return lease.Spec.RenewTime.Add(-margin)
}

// newRecorder makes the recorder of akd's own events on local pods.
func (l *loops) newRecorder() (record.EventRecorder, func()) {
	broadcaster := record.NewBroadcaster()
	sink := broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: l.local.client.CoreV1().Events(metav1.NamespaceAll)})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "akd", Host: l.local.node})
	return recorder, func() { sink.Stop(); broadcaster.Shutdown() }
}

// lookAgain queues every pod now and then, for what no watch tells.
func (l *loops) lookAgain(ctx context.Context) {
	if l.settings.resync == 0 {
		return
	}
	ticker := time.NewTicker(l.settings.resync)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, space := range l.spaces.all() {
			for _, key := range l.keysOf(space.local) {
				l.queue.Add(key)
			}
		}
	}
}

// housekeep retires unused namespaces and forgets what is long past.
func (l *loops) housekeep(ctx context.Context) {
	interval := max(l.settings.unusedTTL/5, time.Second)
	ticker := time.NewTicker(min(interval, time.Minute))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		l.register.prune()
		used := func(space *space) bool { return len(l.pods.in(space.local)) > 0 || l.services.uses(space.local) }
		if err := l.spaces.retire(ctx, l.settings.clock.Now(), l.settings.unusedTTL, used); err != nil && !apierrors.IsForbidden(err) {
			l.logger.Debug("unused remote namespace not deleted yet", "error", err)
		}
		if err := l.spaces.tidy(ctx); err != nil && ctx.Err() == nil {
			l.logger.Warn("the record of remote namespaces is not up to date", "error", err)
		}
	}
}

// isSynced is a readiness check: what both clusters hold has been read.
func (l *loops) isSynced(context.Context) error {
	if !l.pods.hasSynced() || !l.services.hasSynced() || !l.spaces.known() {
		return errors.New("the clusters have not been read yet")
	}
	return nil
}

// mirrored counts what akd keeps in the remote cluster by kind, for metrics.
func (l *loops) mirrored() map[string]int {
	counts := map[string]int{}
	for _, space := range l.spaces.all() {
		counts["Namespace"]++
		counts["Pod"] += space.pods.size()
		counts["ConfigMap"] += space.configMaps.size()
		counts["Secret"] += space.secrets.size()
		counts["Service"] += space.services.size()
		counts["EndpointSlice"] += space.slices.size()
	}
	return counts
}

// phases counts the local pods by phase, for metrics.
func (l *loops) phases() map[string]int {
	counts := map[string]int{}
	for _, pod := range l.pods.all() {
		counts[string(pod.Status.Phase)]++
	}
	return counts
}
