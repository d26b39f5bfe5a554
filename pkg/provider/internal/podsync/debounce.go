package podsync

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// statusDebouncer remembers since when a status waits for what usually follows it, so
// that no status waits twice.
type statusDebouncer struct {
	clock clock.PassiveClock

	mu  sync.Mutex
	due map[types.UID]time.Time
}

func newStatusDebouncer(clock clock.PassiveClock) *statusDebouncer {
	return &statusDebouncer{clock: clock, due: map[types.UID]time.Time{}}
}

// wait returns how long the pod's status has to wait yet, if it may wait for
// that delay since it first differed.
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

// written forgets the pod: nothing of it waits any more.
func (d *statusDebouncer) written(uid types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.due, uid)
}

// cooldown remembers which pods something was done for a moment ago, so that it
// is not done again before its effect is seen.
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

// wait returns how long the pod's cooldown still lasts.
func (c *cooldown) wait(uid types.UID) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, c.until[uid].Sub(c.clock.Now()))
}

// end ends the cooldown: the effect was seen.
func (c *cooldown) end(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.until, uid)
}
