package namespaces

import (
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
)

// Set holds the open mapped namespaces: verified as akd's own, and watched.
type Set struct {
	clock   clock.PassiveClock
	backoff workqueue.TypedRateLimiter[string] // of openings, by local namespace

	mu      sync.Mutex
	open    map[string]*Namespace // by local namespace
	opening map[string]*opening   // by local namespace, those that are not open

	deleting map[types.UID]deletion // of namespaces that are not open; those without success
	// unclear is when the creation of a remote namespace had no answer, by local one.
	unclear map[string]time.Time
	// seen is when the remote namespace of a local one that is not open was seen last.
	seen map[string]time.Time

	kept     map[types.UID]bool // namespaces that hold claims, as was told
	unlisted bool               // likewise, that akd may not list claims
}

// answerTime is longer than an API server works on a request.
const answerTime = 2 * time.Minute

// deletion is the request to delete a remote namespace.
type deletion struct {
	name string
	// doubtful means that there is no answer yet: the namespace may be deleted at any
	// time, until answerTime after it was asked for.
	doubtful bool
	asked    time.Time
}

// opening is the attempt to open a namespace, or what became of the last one.
type opening struct {
	claimed bool
	err     error     // of the last attempt
	again   time.Time // when the next one may begin
}

const (
	// An opening is tried again as a key is: the first time at once, for races that end
	// within milliseconds. All keys of its namespace wait for it, so the longest wait
	// is shorter.
	reopenFirst   = 10 * time.Millisecond
	reopenLongest = 10 * time.Second
	// openingKept is how long a failure is remembered that nobody has asked for since.
	openingKept = time.Minute
)

// NewSet returns an empty set.
func NewSet(clock clock.PassiveClock) *Set {
	return &Set{
		clock:   clock,
		backoff: workqueue.NewTypedItemExponentialFailureRateLimiter[string](reopenFirst, reopenLongest),
		open:    map[string]*Namespace{}, opening: map[string]*opening{}, deleting: map[types.UID]deletion{},
		unclear: map[string]time.Time{}, seen: map[string]time.Time{}, kept: map[types.UID]bool{},
	}
}

// Get returns the remote namespace of a local one, or nil until its content has
// been read.
func (n *Set) Get(local string) *Namespace {
	n.mu.Lock()
	defer n.mu.Unlock()
	if found := n.open[local]; found != nil && found.read() {
		return found
	}
	return nil
}

// All returns every open namespace, read or not.
func (n *Set) All() []*Namespace {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*Namespace, 0, len(n.open))
	for _, namespace := range n.open {
		all = append(all, namespace)
	}
	return all
}

// Pods returns the remote pods that are known, each with its namespace.
func (n *Set) Pods() iter.Seq2[*Namespace, *corev1.Pod] {
	return func(yield func(*Namespace, *corev1.Pod) bool) {
		for _, namespace := range n.All() {
			for _, pod := range namespace.Pods.All() {
				if !yield(namespace, pod) {
					return
				}
			}
		}
	}
}

// Read reports whether every open namespace has been read.
func (n *Set) Read() bool {
	for _, namespace := range n.All() {
		if !namespace.read() {
			return false
		}
	}
	return true
}

// Forget stops watching a namespace that somebody deleted; it is looked up
// again when it is needed.
func (n *Set) Forget(gone *Namespace) {
	n.mu.Lock()
	if n.open[gone.Local] == gone {
		delete(n.open, gone.Local)
	}
	delete(n.kept, gone.UID)
	n.mu.Unlock()
	gone.end()
}

// close closes a namespace that is about to be deleted: from here on nobody gets it, and
// nobody opens it before finishOpening. It returns false if it is not open any more.
func (n *Set) close(unused *Namespace) bool {
	n.mu.Lock()
	open := n.open[unused.Local] == unused
	if open {
		delete(n.open, unused.Local)
		n.opening[unused.Local] = &opening{claimed: true}
	}
	n.mu.Unlock()
	if open {
		unused.end()
	}
	return open
}

// keep notes that a namespace holds claims, or that it holds none. It reports whether the
// former is news.
func (n *Set) keep(uid types.UID, claims bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !claims {
		delete(n.kept, uid)
		return false
	}
	news := !n.kept[uid]
	n.kept[uid] = true
	return news
}

// mayNotList notes that akd may not list claims, and reports whether that is news.
func (n *Set) mayNotList() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	news := !n.unlisted
	n.unlisted = true
	return news
}

func (n *Set) add(opened *Namespace) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open[opened.Local] = opened
	delete(n.deleting, opened.UID)
	delete(n.unclear, opened.Local)
}

// noteUnclear notes that the remote namespace of a local one may have been created, or
// may still be.
func (n *Set) noteUnclear(local string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.unclear[local] = n.clock.Now()
}

// unclearOnes returns the local namespaces for which that was noted.
func (n *Set) unclearOnes() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Keys(n.unclear))
}

// missing forgets that a namespace that is not there may be, unless it may still come.
func (n *Set) missing(local string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.clock.Since(n.unclear[local]) > answerTime {
		delete(n.unclear, local)
	}
}

// planDeletion notes that a namespace is to be deleted, unless that is known.
func (n *Set) planDeletion(uid types.UID, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.deleting[uid]; !known {
		n.deleting[uid] = deletion{name: name}
	}
}

// deletes reports whether a namespace is to be deleted.
func (n *Set) deletes(uid types.UID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, known := n.deleting[uid]
	return known
}

// beginDeletion notes that the deletion of a namespace is requested.
func (n *Set) beginDeletion(uid types.UID, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deleting[uid] = deletion{name: name, doubtful: true, asked: n.clock.Now()}
}

// endDeletion notes the answer.
func (n *Set) endDeletion(uid types.UID, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		delete(n.deleting, uid)
		delete(n.kept, uid)
	} else if cluster.HasRefused(err) {
		n.deleting[uid] = deletion{name: n.deleting[uid].name}
	}
}

// mayVanish reports whether a namespace may be deleted at any time, because akd has
// requested it a moment ago and has no answer.
func (n *Set) mayVanish(uid types.UID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.deleting[uid].doubtful && n.clock.Since(n.deleting[uid].asked) <= answerTime
}

// undeleted returns the names of the namespaces whose deletion did not succeed, by UID.
func (n *Set) undeleted() map[types.UID]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	names := map[types.UID]string{}
	for uid, deletion := range n.deleting {
		names[uid] = deletion.name
	}
	return names
}

// startOpening claims the opening of a namespace. It returns false if the namespace is
// open or already being opened, and also, with the error of the last attempt, if it is
// too early for another one.
func (n *Set) startOpening(local string) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := n.opening[local]
	switch {
	case n.open[local] != nil || last != nil && last.claimed:
		return false, nil
	case last != nil && n.clock.Now().Before(last.again):
		return false, last.err
	}
	n.opening[local] = &opening{claimed: true}
	return true, nil
}

// finishOpening releases the claim, and reports whether the namespace is open. If it is
// not because of an error, nobody opens it before the next attempt is due, which is in
// longest at most. Without an error, there was no need to open it.
func (n *Set) finishOpening(local string, err error, longest time.Duration) (next time.Duration, open bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.opening, local)
	if n.open[local] != nil {
		n.backoff.Forget(local)
		return 0, true
	}
	if err != nil {
		next = min(n.backoff.When(local), longest)
	}
	n.opening[local] = &opening{err: err, again: n.clock.Now().Add(next)}
	return next, false
}

// see notes that there is a remote namespace of a local one.
func (n *Set) see(local string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen[local] = n.clock.Now()
}

// wasSeen reports whether there was one a moment ago.
func (n *Set) wasSeen(local string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.clock.Since(n.seen[local]) < seenFor
}

// prune forgets the failed openings that nobody has asked for since.
func (n *Set) prune(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.opening, func(name string, o *opening) bool {
		old := !o.claimed && now.Sub(o.again) > openingKept
		if old {
			n.backoff.Forget(name)
		}
		return old
	})
	maps.DeleteFunc(n.seen, func(_ string, at time.Time) bool { return now.Sub(at) > seenFor })
}

// expired reports whether no pod has used a namespace for ttl.
func (n *Set) expired(namespace *Namespace, now time.Time, ttl time.Duration, used bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if used || !namespace.read() || namespace.Pods.Len() != 0 || namespace.Pods.Refusal() != nil {
		namespace.unusedFor = time.Time{}
		return false
	}
	if namespace.unusedFor.IsZero() {
		namespace.unusedFor = now
	}
	return now.Sub(namespace.unusedFor) >= ttl
}

// checkIsDue reports whether to check a namespace in which akd was forbidden
// something, and if so records now as the time of that check.
func (n *Set) checkIsDue(namespace *Namespace, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(namespace.checked) < checkInterval {
		return false
	}
	namespace.checked = now
	return true
}
