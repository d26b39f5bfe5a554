package lab

import (
	"context"
	"slices"
	"time"
)

// Crash ends all processes of a node at once, as a power failure does. Its disk stays,
// and Up boots it again. The node's own programs end before its pods, so that none of
// them reports the end of a container.
func (l *Lab) Crash(ctx context.Context, node string) error {
	state, err := l.Running()
	if err != nil {
		return err
	}
	if state.Plan.Simulated {
		return mistakef("%s: run clusters up with real nodes to crash one", SimulatedNotice)
	}
	if names := state.Plan.nodeNames(); !slices.Contains(names, node) {
		return mistakef("unknown node %q: give one of %v", node, names)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return l.group().Empty(ctx, nodeGroup(node), node)
}
