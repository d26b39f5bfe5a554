package scenario

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Exploration is what can happen to one pod, and to a claim of its, on both sides and in
// between.
type Exploration struct {
	Name string
	// begin is what has happened before.
	begin []string
	acts  []string
}

// Explorations are that of a pod, and those of a claim at different moments of its life.
func Explorations() []Exploration {
	running := []string{"storage", "local claim data", "local create a claim=data", "settle", "remote kubelet a 42", "settle"}
	unused := append(slices.Clone(running), "local delete a", "settle", "remote kubelet a 42", "remote kubelet a 42", "settle")
	return []Exploration{
		{Name: "pod", acts: slices.Concat(podAlphabet(), faultAlphabet())},
		{Name: "claim-new", begin: []string{"storage"}, acts: slices.Concat(claimAlphabet(), volumeAlphabet(), faultAlphabet())},
		{Name: "claim-used", begin: running, acts: slices.Concat(claimAlphabet(), volumeAlphabet(), faultAlphabet())},
		{Name: "claim-unused", begin: unused, acts: slices.Concat(claimAlphabet(), volumeAlphabet(), faultAlphabet())},
	}
}

func podAlphabet() []string {
	return []string{
		"local create a Never", "local create a Never held", "local delete a", "local delete a 0", "local finalize a",
		"remote kubelet a 42", "remote delete a", "remote delete a 0", "remote finalize a",
	}
}

// claimAlphabet makes a claim and a pod with it, or with one of its own, and ends the pod.
func claimAlphabet() []string {
	return []string{
		"local claim data", "local claim data class=late", "local claim data class=keep",
		"local create a claim=data", "local create a Never ephemeral", "local delete a", "local delete a 0", "remote kubelet a 42",
	}
}

// volumeAlphabet is what others do to a claim and its volume, and what becomes of Kubernetes'
// controllers of them.
func volumeAlphabet() []string {
	return []string{
		"local delete claim data", "local grow data 9Gi", "local policy data Retain", "local policy data Delete", "local delete volume data",
		"local adopt data", "remote delete claim data", "remote replace data", "remote impostor data",
		"remote provisioner fails", "remote provisioner works", "local controllers stop", "local controllers start",
		"remote controllers stop", "remote controllers start", "storage none",
	}
}

// faultAlphabet lets time pass, or something go wrong.
func faultAlphabet() []string {
	return []string{
		"settle",
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

// Explore lives all histories with that many acts, and reports those that go wrong. It leaves
// out those with an act that changes nothing. A beginning counts as one act.
func Explore(t *testing.T, e Exploration, acts int, report func(history, wrong []string)) Explored {
	t.Helper()
	var explored Explored
	longest := acts + max(0, len(e.begin)-1)
	states := map[string]bool{}
	var from func(history []string)
	from = func(history []string) {
		for _, act := range e.acts {
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
			if len(next) < longest {
				from(next)
			}
		}
	}
	from(e.begin)
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
	_, _ = fmt.Fprintln(&state, s.akd.local.mayDie(), s.former != nil, s.next.storage)
	return state.String()
}

// faults describes what goes wrong with an API server.
func (c *fakeServer) faults() string {
	halted := c.controllers.isHalted()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.storage.mu.Lock()
	defer c.storage.mu.Unlock()
	behind := 0
	if c.storage.lagging {
		behind = 1 + c.storage.version - c.storage.cached
	}
	return fmt.Sprint(c.lose, c.hold, len(c.held), behind, c.fails, halted)
}
