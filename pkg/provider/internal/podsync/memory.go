package podsync

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
)

// statusDebouncer records since when a status has waited for the change that
// usually follows it, so that no status waits twice.
type statusDebouncer struct {
	clock clock.PassiveClock

	mu  sync.Mutex
	due map[types.UID]time.Time
}

func newStatusDebouncer(clock clock.PassiveClock) *statusDebouncer {
	return &statusDebouncer{clock: clock, due: map[types.UID]time.Time{}}
}

// wait returns how much longer the pod's status has to wait, if it may wait for
// delay after it first differed.
func (d *statusDebouncer) wait(uid types.UID, delay time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if delay == 0 {
		return 0
	}
	now := d.clock.Now()
	due, waiting := d.due[uid]
	if latest := now.Add(delay); !waiting || latest.Before(due) {
		due = latest
		d.due[uid] = due
	}
	return due.Sub(now)
}

// written forgets the pod: none of its changes waits any more.
func (d *statusDebouncer) written(uid types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.due, uid)
}

// cooldown records the pods on which an action was taken recently, so that it
// is not repeated before its effect is observed.
type cooldown struct {
	clock  clock.PassiveClock
	period time.Duration

	mu    sync.Mutex
	until map[types.UID]time.Time
}

func newCooldown(clock clock.PassiveClock, period time.Duration) *cooldown {
	return &cooldown{clock: clock, period: period, until: map[types.UID]time.Time{}}
}

// start begins the pod's cooldown.
func (c *cooldown) start(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until[uid] = c.clock.Now().Add(c.period)
}

// wait returns how much longer the pod's cooldown lasts.
func (c *cooldown) wait(uid types.UID) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, c.until[uid].Sub(c.clock.Now()))
}

// end ends the cooldown: the effect was observed.
func (c *cooldown) end(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.until, uid)
}

// gonePods holds the deleted local pods that are still to be forgotten, by the key whose
// next reconcile does that.
type gonePods struct {
	mu   sync.Mutex
	pods map[queue.Key][]types.UID
}

func newGonePods() *gonePods { return &gonePods{pods: map[queue.Key][]types.UID{}} }

func (g *gonePods) add(k queue.Key, uid types.UID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pods[k] = append(g.pods[k], uid)
}

// take returns the pods of a key, once.
func (g *gonePods) take(k queue.Key) []types.UID {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := g.pods[k]
	delete(g.pods, k)
	return taken
}
