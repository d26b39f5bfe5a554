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
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// doubtInterval is how often akd asks why it is refused in a namespace.
const doubtInterval = 5 * time.Second

// space is one mapped namespace: the remote namespace that serves a local one,
// and what is known of its content.
type space struct {
	local  string
	remote string
	uid    types.UID // the remote namespace's

	pods       *objects[*corev1.Pod]
	configMaps *objects[*corev1.ConfigMap]
	secrets    *objects[*corev1.Secret]
	services   *objects[*corev1.Service]
	slices     *objects[*discoveryv1.EndpointSlice]

	waiting   atomic.Int32 // selections that have not been read yet
	stop      context.CancelFunc
	unusedFor time.Time // since when no pod has used it; guarded by spaces.mu
	doubted   time.Time // when akd last asked why it was refused; guarded by spaces.mu
}

// pod returns the remote pod of that local name, or nil.
func (s *space) pod(name string) *corev1.Pod { return s.pods.get(s.remote, name) }

// spaces are the mapped namespaces. A namespace is proved ours before
// anything in it is watched or written.
type spaces struct {
	mapper *translate.Mapper
	remote *remoteCluster
	events *eventMirror
	queue  queue
	logger *slog.Logger
	// services says that Services are mirrored, and so to be watched.
	services bool
	words    *words // that cached objects share
	// remap returns the keys to look at once a namespace can be used.
	remap func(localNamespace string) []key

	run     context.Context // what the watches live in; see start
	watches sync.WaitGroup
	tenant  *tenant // nil for an administrator; see start

	mu      sync.Mutex
	open    map[string]*space // by local namespace
	opening map[string]bool
}

// start opens the spaces that an earlier akd left behind, so that what became
// superfluous meanwhile is found. The watches run until ctx ends.
func (s *spaces) start(ctx context.Context) error {
	s.run = ctx
	found, err := s.leftBehind(ctx)
	if err != nil {
		return err
	}
	var left []*corev1.Namespace
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(tenantWorkers)
	for i := range found {
		namespace := &found[i]
		if err := s.mapper.OwnsNamespace(namespace, namespace.Labels[contract.LabelNamespace]); err != nil {
			s.logger.Warn("leave a remote namespace alone that seems to be this node's", "namespace", namespace.Name, "reason", err)
			continue
		}
		if namespace.DeletionTimestamp != nil {
			continue
		}
		left = append(left, namespace)
		group.Go(func() error { return s.enter(groupCtx, namespace) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, namespace := range left {
		s.watch(namespace, namespace.Labels[contract.LabelNamespace]) //nolint:contextcheck // watches live as long as spaces do
	}
	return nil
}

// leftBehind returns the remote namespaces that may be ours: by a list, or,
// where akd may not list them, by its record.
func (s *spaces) leftBehind(ctx context.Context) ([]corev1.Namespace, error) {
	found, err := patiently(ctx, func() ([]corev1.Namespace, error) { return s.remote.mapped(ctx) })
	if !apierrors.IsForbidden(err) {
		s.tenant = nil
		return found, err
	}
	if s.tenant, err = newTenant(ctx, s.remote, s.mapper, s.logger); err != nil {
		return nil, err
	}
	s.logger.Info("akd is a tenant of the remote cluster: a record says which namespaces are its own",
		"record", contract.SystemNamespace+"/"+contract.RecordName(s.mapper.Node), "as", s.tenant.subject.Name)
	return s.tenant.namespaces(ctx)
}

// wait returns when every watch has ended.
func (s *spaces) wait() { s.watches.Wait() }

// get returns the space of a local namespace once its content is known, or nil.
func (s *spaces) get(local string) *space {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.open[local]; found != nil && found.waiting.Load() == 0 {
		return found
	}
	return nil
}

// all returns every space, known or not.
func (s *spaces) all() []*space {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*space, 0, len(s.open))
	for _, space := range s.open {
		all = append(all, space)
	}
	return all
}

// known reports whether the content of every open space is known.
func (s *spaces) known() bool {
	for _, space := range s.all() {
		if space.waiting.Load() != 0 {
			return false
		}
	}
	return true
}

// ensure returns the space of a local namespace, and creates the remote
// namespace when there is none. Without a space and without an error it is on
// its way, and remap's keys are queued when it has come.
func (s *spaces) ensure(ctx context.Context, local string) (*space, error) {
	if found, begun := s.begin(local); found != nil || !begun {
		if found != nil && found.waiting.Load() != 0 {
			return nil, nil
		}
		return found, nil
	}
	defer s.end(local)

	namespace, err := s.claim(ctx, local)
	if err != nil {
		return nil, err
	}
	if err := s.enter(ctx, namespace); err != nil {
		return nil, err
	}
	s.watch(namespace, local) //nolint:contextcheck // watches live as long as spaces do
	return nil, nil
}

// claim returns the remote namespace of a local one, which was proved ours and
// recorded, and creates it when there is none.
func (s *spaces) claim(ctx context.Context, local string) (*corev1.Namespace, error) {
	want := s.mapper.Namespace(local)
	namespace, err := s.remote.namespace(ctx, want.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	if err == nil {
		if err := s.usable(namespace, local); err != nil {
			return nil, err
		}
		return namespace, s.tenant.note(ctx, want.Name, local)
	}
	if err := s.tenant.note(ctx, want.Name, local); err != nil {
		return nil, err
	}
	if namespace, err = s.remote.createNamespace(ctx, want); err != nil {
		return nil, err
	}
	return namespace, s.usable(namespace, local)
}

// enter prepares a namespace that was proved ours for what akd does in it.
func (s *spaces) enter(ctx context.Context, namespace *corev1.Namespace) error {
	if err := s.tenant.enter(ctx, namespace); err != nil {
		return err
	}
	return s.remote.createLimits(ctx, s.mapper.Limits(namespace.Labels[contract.LabelNamespace]))
}

// usable returns nil when a namespace is ours and stays.
func (s *spaces) usable(namespace *corev1.Namespace, local string) error {
	if err := s.mapper.OwnsNamespace(namespace, local); err != nil {
		return &translate.Refusal{Reason: "RemoteNamespaceRefused", Message: err.Error()}
	}
	if namespace.DeletionTimestamp != nil {
		return fmt.Errorf("remote namespace %s is still being deleted", namespace.Name)
	}
	return nil
}

// begin claims the opening of a space that is not open.
func (s *spaces) begin(local string) (found *space, begun bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.open[local]; found != nil {
		return found, false
	}
	if s.opening[local] {
		return nil, false
	}
	s.opening[local] = true
	return nil, true
}

// end gives the claim back. Those who came meanwhile found the claim taken and
// have nobody else to wake them when the opening failed.
func (s *spaces) end(local string) {
	s.mu.Lock()
	delete(s.opening, local)
	failed := s.open[local] == nil
	s.mu.Unlock()
	if failed {
		for _, key := range s.remap(local) {
			s.queue.AddAfter(key, time.Second)
		}
	}
}

// watch follows the content of a namespace that is ours.
func (s *spaces) watch(namespace *corev1.Namespace, local string) {
	ctx, stop := context.WithCancel(s.run)
	opened := &space{local: local, remote: namespace.Name, uid: namespace.UID, stop: stop, unusedFor: time.Time{}}
	ready := func() {
		if opened.waiting.Add(-1) == 0 {
			for _, key := range s.remap(local) {
				s.queue.Add(key)
			}
		}
	}
	opened.pods = newObjects(func(c change[*corev1.Pod]) {
		s.queue.Add(key{kindPod, local, either(c).Name})
	}, ready)
	opened.pods.trim = func(pod *corev1.Pod) { translate.TrimRemote(pod); s.words.share(pod) }
	opened.configMaps = newObjects(func(c change[*corev1.ConfigMap]) {
		s.queue.Add(key{kindConfigMap, local, contract.LocalConfigMapName(either(c).Name)})
	}, ready)
	opened.secrets = newObjects(func(c change[*corev1.Secret]) {
		s.queue.Add(key{kindSecret, local, either(c).Name})
	}, ready)
	opened.secrets.trim = func(secret *corev1.Secret) { translate.TrimSecret(secret); s.words.share(secret) }
	opened.services = newObjects(func(c change[*corev1.Service]) {
		s.queue.Add(key{kindService, local, either(c).Name})
	}, ready)
	opened.slices = newObjects(func(c change[*discoveryv1.EndpointSlice]) {
		s.queue.Add(key{kindEndpointSlice, local, either(c).Name})
	}, ready)
	opened.waiting.Store(3)
	if s.services {
		opened.waiting.Store(5)
	}

	s.mu.Lock()
	s.open[local] = opened
	s.mu.Unlock()
	s.watches.Go(func() { opened.pods.run(ctx, s.remote.pods(namespace.Name)) })
	s.watches.Go(func() { opened.configMaps.run(ctx, s.remote.configMaps(namespace.Name)) })
	s.watches.Go(func() { opened.secrets.run(ctx, s.remote.secrets(namespace.Name)) })
	if s.services {
		s.watches.Go(func() { opened.services.run(ctx, s.remote.services(namespace.Name)) })
		s.watches.Go(func() { opened.slices.run(ctx, s.remote.endpointSlices(namespace.Name)) })
	}
	s.watches.Go(func() { s.events.follow(ctx, opened, s.remote.events(namespace.Name)) })
}

// forget stops watching a namespace, which is then looked up anew when it is
// needed: somebody deleted it.
func (s *spaces) forget(gone *space) {
	s.mu.Lock()
	if s.open[gone.local] == gone {
		delete(s.open, gone.local)
	}
	s.mu.Unlock()
	gone.stop()
}

// retire deletes the remote namespaces that no pod has used for ttl: a node
// may not read namespaces, so that the end of a local one shows in its pods
// alone. used reports whether a local pod is, or may come to be, in the space.
func (s *spaces) retire(ctx context.Context, now time.Time, ttl time.Duration, used func(*space) bool) error {
	for _, space := range s.all() {
		if !s.expired(space, now, ttl, used(space)) {
			continue
		}
		s.logger.Info("delete a remote namespace that no pod uses", "namespace", space.remote, "localNamespace", space.local)
		s.forget(space)
		if err := s.remote.deleteNamespace(ctx, space.remote, space.uid); err != nil {
			return err
		}
	}
	return nil
}

func (s *spaces) expired(space *space, now time.Time, ttl time.Duration, used bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if used || space.waiting.Load() != 0 || space.pods.size() != 0 || space.pods.refusal() != nil {
		space.unusedFor = time.Time{}
		return false
	}
	if space.unusedFor.IsZero() {
		space.unusedFor = now
	}
	return now.Sub(space.unusedFor) >= ttl
}

// tidy keeps a tenant's record true: it holds each open space, and no namespace
// that is gone. One that is recorded, there and not open is what an opening that
// failed half-way has left.
func (s *spaces) tidy(ctx context.Context) error {
	if s.tenant == nil {
		return nil
	}
	if err := s.tenant.readRecord(ctx); err != nil {
		return err
	}
	recorded := s.tenant.recorded()
	for _, space := range s.all() {
		if space.pods.refusal() != nil {
			if err := s.doubt(ctx, space); err != nil {
				return err
			}
		}
		if _, ok := recorded[space.remote]; ok {
			delete(recorded, space.remote)
			continue
		}
		if err := s.tenant.note(ctx, space.remote, space.local); err != nil {
			return err
		}
	}
	for remote, local := range recorded {
		if err := s.look(ctx, remote, local); err != nil {
			return err
		}
	}
	return nil
}

// look finds out what became of a recorded namespace that is not open.
func (s *spaces) look(ctx context.Context, remote, local string) error {
	if _, begun := s.begin(local); !begun {
		return nil // somebody opens it, or has opened it
	}
	defer s.end(local)
	namespace, err := s.remote.namespace(ctx, remote)
	if apierrors.IsNotFound(err) {
		return s.tenant.strike(ctx, remote)
	}
	if err != nil || s.usable(namespace, local) != nil {
		return err
	}
	if err := s.enter(ctx, namespace); err != nil {
		return err
	}
	s.watch(namespace, local) //nolint:contextcheck // watches live as long as spaces do
	return nil
}

// doubt looks at the namespace of a space in which akd was refused. A tenant's
// rights end with its namespace, so that it hears of its end by refusals: the
// space is then forgotten. Rights that somebody took away are bound again.
func (s *spaces) doubt(ctx context.Context, refused *space) error {
	if s.tenant == nil {
		return nil
	}
	namespace, err := s.remote.namespace(ctx, refused.remote)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return err
	case namespace.UID == refused.uid && namespace.DeletionTimestamp == nil:
		return s.enter(ctx, namespace)
	}
	s.forget(refused)
	return nil
}

// doubtNow is doubt, at most once in a while, because most refusals are about
// one pod: a quota's, or an admission policy's.
func (s *spaces) doubtNow(ctx context.Context, refused *space, now time.Time) error {
	s.mu.Lock()
	due := now.Sub(refused.doubted) >= doubtInterval
	if due {
		refused.doubted = now
	}
	s.mu.Unlock()
	if !due {
		return nil
	}
	return s.doubt(ctx, refused)
}

// either returns the object that a change is about.
func either[T object](c change[T]) T {
	var none T
	if c.new != none {
		return c.new
	}
	return c.old
}
