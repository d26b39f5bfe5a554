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
