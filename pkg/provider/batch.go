package provider

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// batch remembers since when a status waits for what usually follows it, so
// that no status waits twice.
type batch struct {
	clock clock.PassiveClock

	mu  sync.Mutex
	due map[types.UID]time.Time
}

func newBatch(clock clock.PassiveClock) *batch {
	return &batch{clock: clock, due: map[types.UID]time.Time{}}
}

// wait returns how long the pod's status has to wait yet, if it may wait for
// that delay since it first differed.
func (b *batch) wait(uid types.UID, delay time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if delay == 0 {
		return 0
	}
	now := b.clock.Now()
	due, waiting := b.due[uid]
	if latest := now.Add(delay); !waiting || latest.Before(due) {
		due = latest
		b.due[uid] = due
	}
	return due.Sub(now)
}

// written forgets the pod: nothing of it waits any more.
func (b *batch) written(uid types.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.due, uid)
}

// pauses remember which pods something was done for a moment ago, so that it
// is not done again before its effect is seen.
type pauses struct {
	clock clock.PassiveClock
	pause time.Duration

	mu    sync.Mutex
	until map[types.UID]time.Time
}

func newPauses(clock clock.PassiveClock, pause time.Duration) *pauses {
	return &pauses{clock: clock, pause: pause, until: map[types.UID]time.Time{}}
}

// done begins the pod's pause.
func (p *pauses) done(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until[uid] = p.clock.Now().Add(p.pause)
}

// wait returns how long the pod's pause lasts yet.
func (p *pauses) wait(uid types.UID) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, p.until[uid].Sub(p.clock.Now()))
}

// forget ends the pause: the effect was seen.
func (p *pauses) forget(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.until, uid)
}
