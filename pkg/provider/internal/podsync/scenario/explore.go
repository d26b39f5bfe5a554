package scenario

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// alphabet is what can happen to one pod, on both sides and in between.
func alphabet() []string {
	return []string{
		"settle",
		"local create a Never", "local create a Never held", "local delete a", "local delete a 0", "local finalize a",
		"remote kubelet a 42", "remote delete a", "remote delete a 0", "remote finalize a",
		"restart", "crash 1", "crash 2", "pause", "resume",
		"local lag", "local catch-up", "local lose", "local hold", "local arrive",
		"remote lag", "remote catch-up", "remote lose", "remote hold", "remote arrive",
	}
}

// Explored is what Explore has seen.
type Explored struct {
	Histories int
	States    int // different ones, as they can be seen from outside
}

// Explore lives all histories of one pod with that many acts, and reports those that go
// wrong. It leaves out those with an act that changes nothing.
func Explore(t *testing.T, acts int, report func(history, wrong []string)) Explored {
	t.Helper()
	var explored Explored
	states := map[string]bool{}
	var from func(history []string)
	from = func(history []string) {
		for _, act := range alphabet() {
			next := append(slices.Clone(history), act)
			l := live(t, next)
			if l.after == l.before && (!isFelt(act) || slices.Contains(history, act)) {
				continue
			}
			explored.Histories++
			states[l.after] = true
			if len(l.wrong) > 0 {
				report(next, l.wrong)
				continue
			}
			if len(next) < acts {
				from(next)
			}
		}
	}
	from(nil)
	explored.States = len(states)
	return explored
}

// isFelt reports whether an act changes akd even if nobody else sees it.
func isFelt(act string) bool { return act == "restart" }

// state describes what can be seen from outside.
func (s *scenario) state() string {
	var state strings.Builder
	for _, server := range []*fakeServer{s.local, s.remote} {
		for _, line := range server.lines() {
			state.WriteString(line + "\n")
		}
		state.WriteString(server.faults() + "\n")
	}
	_, _ = fmt.Fprintln(&state, s.akd.local.mayDie(), s.former != nil)
	return state.String()
}

// faults describes what goes wrong with an API server.
func (c *fakeServer) faults() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.storage.mu.Lock()
	defer c.storage.mu.Unlock()
	behind := 0
	if c.storage.lagging {
		behind = 1 + c.storage.version - c.storage.cached
	}
	return fmt.Sprint(c.lose, c.hold, len(c.held), behind)
}
