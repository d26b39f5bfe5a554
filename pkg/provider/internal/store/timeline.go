package store

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// versionAge is how long stores share the answer to how far a cluster is. After
	// an API server has restarted, thousands of watches ask at the same time.
	versionAge = time.Second
	// versionTimeout limits one such question.
	versionTimeout = 5 * time.Second
)

// Timeline tells the stores of one cluster when the cluster has gone back in
// time: somebody has restored its etcd from a backup. What a store knows from the
// lost time would hide what happens from then on, possibly for ever, because a
// store ignores all that is older. All stores of the cluster then begin anew.
//
// Only a consistent list proves it, because any other answer may come from an API
// server that lags behind.
// https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list
type Timeline struct {
	mu       sync.Mutex
	restored func(known, current string)
	epoch    *epoch
	versions map[string]*sharedVersion // by kind of object
}

// epoch is the time between two restores.
type epoch struct {
	over context.Context // ends with the epoch
	end  context.CancelFunc
}

func newEpoch() *epoch {
	over, end := context.WithCancel(context.Background())
	return &epoch{over: over, end: end}
}

// sharedVersion is the newest resource version of a kind, as last asked for.
type sharedVersion struct {
	mu      sync.Mutex
	asked   time.Time
	version string
	err     error
}

// NewTimeline returns the timeline of a cluster.
func NewTimeline() *Timeline {
	return &Timeline{epoch: newEpoch(), versions: map[string]*sharedVersion{}, restored: func(string, string) {}}
}

// Notify sets the function that is called each time the cluster has gone back: a
// store knew a resource version, but the cluster's current one is earlier.
func (t *Timeline) Notify(restored func(known, current string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.restored = restored
}

// each calls do until ctx ends, again in each epoch. anew reports whether the
// cluster has gone back in time before.
func (t *Timeline) each(ctx context.Context, do func(ctx context.Context, now *epoch, anew bool)) {
	for anew := false; ctx.Err() == nil; anew = true {
		t.mu.Lock()
		now := t.epoch
		t.mu.Unlock()
		bounded, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(now.over, cancel) //nolint:contextcheck // ends with the epoch, too
		do(bounded, now, anew)
		stop()
		cancel()
	}
}

// goBack begins the next epoch, unless the given one has ended already.
func (t *Timeline) goBack(from *epoch, known, current string) {
	t.mu.Lock()
	if t.epoch != from {
		t.mu.Unlock()
		return
	}
	t.epoch = newEpoch()
	clear(t.versions)
	restored := t.restored
	t.mu.Unlock()
	restored(known, current)
	from.end()
}

// current returns the newest resource version of a kind, asked for after the
// given time. list lists objects of the kind.
func (t *Timeline) current(ctx context.Context, kind string, after time.Time, list listFunc) (string, error) {
	t.mu.Lock()
	shared := t.versions[kind]
	if shared == nil {
		shared = &sharedVersion{}
		t.versions[kind] = shared
	}
	t.mu.Unlock()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if !shared.asked.After(after) || time.Since(shared.asked) >= versionAge {
		ctx, cancel := context.WithTimeout(ctx, versionTimeout)
		defer cancel()
		shared.asked = time.Now()
		shared.version, shared.err = versionOf(list(ctx, metav1.ListOptions{Limit: 1}))
	}
	if apierrors.IsForbidden(shared.err) {
		shared.asked = time.Time{} // in another namespace, it may be allowed
	}
	return shared.version, shared.err
}

// listFunc lists objects of one kind.
type listFunc func(context.Context, metav1.ListOptions) (runtime.Object, error)

func versionOf(list runtime.Object, err error) (string, error) {
	if err != nil {
		return "", err
	}
	accessor, err := meta.ListAccessor(list)
	if err != nil {
		return "", err
	}
	return accessor.GetResourceVersion(), nil
}
