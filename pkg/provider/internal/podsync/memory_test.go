package podsync

import (
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"
)

// A released pod is not released again while its deletion is in progress, but
// is if the deletion never arrives.
func TestCooldown(t *testing.T) {
	t.Parallel()
	clock := testingclock.NewFakePassiveClock(time.Unix(0, 0))
	p := newCooldown(clock, 10*time.Second)
	if wait := p.wait("1"); wait != 0 {
		t.Errorf("nothing was done: wait %s, want none", wait)
	}
	p.start("1")
	clock.SetTime(clock.Now().Add(4 * time.Second))
	if wait := p.wait("1"); wait != 6*time.Second {
		t.Errorf("done 4 s ago: wait %s, want 6 s", wait)
	}
	clock.SetTime(clock.Now().Add(6 * time.Second))
	if wait := p.wait("1"); wait != 0 {
		t.Errorf("done 10 s ago: wait %s, want none", wait)
	}
	p.start("1")
	if p.end("1"); p.wait("1") != 0 || len(p.until) != 0 {
		t.Error("the effect was seen, and it is still remembered")
	}
}
