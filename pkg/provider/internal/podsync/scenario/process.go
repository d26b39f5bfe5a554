package scenario

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/podsync"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
)

// setting is how akd is started.
type setting struct {
	skew    time.Duration // by which its clock is ahead
	mirror  bool          // it mirrors Services and PodDisruptionBudgets
	storage bool          // it makes the volumes of claims
	cluster types.UID     // that of the remote cluster
	linger  time.Duration // how long it keeps what the last pod referred to
}

// maxReferences is how many ConfigMaps and Secrets akd follows.
const maxReferences = 8

// process is one akd.
type process struct {
	controller    *podsync.Controller
	local, remote *link
	end           func() // has no effect twice
	ended         atomic.Bool
}

// run starts akd's loops, as a new process does.
func run(t *testing.T, local, remote *link, with setting) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	mapper := mapper()
	mapper.Storage, mapper.Colocate, mapper.StorageClasses = with.storage, with.storage, installed()
	p := &process{local: local, remote: remote}
	localCluster := cluster.NewLocal(cluster.Clients{Node: local.client, Proxy: local.client, Own: local.client}, Node)
	p.controller = podsync.New(
		localCluster, cluster.NewRemote(remote.client, mapper.Owner),
		podsync.Config{
			Mapper:           mapper,
			MirrorServices:   with.mirror,
			ReachServices:    with.mirror,
			MirrorBudgets:    with.mirror,
			RemoteClusterUID: with.cluster,
			Workers:          1, // so that UIDs come in the order of the script
			UnusedTTL:        5 * time.Minute,
			Linger:           with.linger,
			MaxReferences:    maxReferences,
			Sizes:            func() []corev1.ResourceList { return nil },
			MaxOrphanShare:   podsync.MaxOrphanShare,
			Clock:            skewedClock{by: with.skew},
			Observe:          func(string, time.Duration) {},
			CountToken:       func(error) {},
		}, slog.New(slog.DiscardHandler))
	node := store.New(store.Handlers[*corev1.Node]{
		Changed: func(change store.Change[*corev1.Node]) { p.controller.NodeChanged(change.New) },
	})
	loops, ctx := errgroup.WithContext(ctx)
	loops.Go(func() error { node.Run(ctx, localCluster.NodeListWatch()); return nil })
	loops.Go(func() error { return p.controller.Run(ctx, func() {}) })
	p.end = sync.OnceFunc(func() {
		p.ended.Store(true)
		cancel()
		if err := loops.Wait(); err != nil {
			t.Errorf("the loops ended: %v", err)
		}
	})
	return p
}

// dieAfter kills akd after that number of requests: no other one has an effect.
func (p *process) dieAfter(requests int64) {
	var made atomic.Int64
	dead := func() bool { return made.Add(1) > requests }
	p.local.kill(dead)
	p.remote.kill(dead)
}

// pause makes akd stand still, as SIGSTOP does: it hears nothing and sends nothing. What is
// on its way is what an API server holds.
func (p *process) pause() {
	p.local.pause(true)
	p.remote.pause(true)
}

// resume ends that.
func (p *process) resume() {
	p.local.pause(false)
	p.remote.pause(false)
}

// skewedClock is ahead of the API servers' clocks.
type skewedClock struct {
	clock.RealClock

	by time.Duration
}

// Now implements clock.PassiveClock.
func (c skewedClock) Now() time.Time { return c.RealClock.Now().Add(c.by) }

// Since implements clock.PassiveClock.
func (c skewedClock) Since(then time.Time) time.Duration { return c.Now().Sub(then) }

// link is how one akd reaches an API server.
type link struct {
	server *fakeServer
	client *fake.Clientset

	mu     sync.Mutex
	dead   func() bool
	paused bool
	fenced bool // after a pause
}

func (c *fakeServer) link() *link {
	l := &link{server: c, client: &fake.Clientset{}}
	l.client.AddReactor("*", "*", l.react)
	l.client.AddReactor("*", "*", clienttesting.ObjectReaction(c.storage))
	l.client.AddWatchReactor("*", l.watch)
	return l
}

// kill makes all requests of akd fail as soon as dead says so.
func (l *link) kill(dead func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = dead
}

// mayDie reports whether akd is dead, or soon will be.
func (l *link) mayDie() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead != nil
}

// isDead reports whether the akd that makes a request is dead, as far as others see.
func (l *link) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead != nil && l.dead()
}

func (l *link) pause(paused bool) {
	l.mu.Lock()
	l.paused, l.fenced = paused, !paused
	l.mu.Unlock()
	if !paused {
		l.server.arrive()
		l.server.storage.wakeAll()
	}
}

func (l *link) isFenced() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fenced
}

func (l *link) isPaused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.paused
}

func (l *link) react(action clienttesting.Action) (bool, runtime.Object, error) {
	switch {
	case l.isDead():
		return true, nil, apierrors.NewInternalError(errors.New("akd is dead"))
	case l.isFenced() && isWrite(action.GetVerb()):
		return true, nil, errors.New("akd does not lead any more")
	case l.isPaused():
		return true, nil, apierrors.NewTimeoutError("akd stands still", 1)
	}
	return l.server.react(action)
}

// watch begins a watch.
func (l *link) watch(action clienttesting.Action) (bool, watch.Interface, error) {
	var options metav1.ListOptions
	if selected, ok := action.(clienttesting.WatchActionImpl); ok {
		options = selected.ListOptions
	}
	l.server.noteWatch(action.GetResource().Resource)
	begun, err := l.server.storage.watch(action.GetResource(), action.GetNamespace(), options, l.isPaused)
	return true, begun, err
}
