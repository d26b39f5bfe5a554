package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/tick"
)

const (
	// probeInterval and probeTimeout let several probes fail within the shortest
	// grace period that the configuration accepts, 10 s, before the node is not
	// ready.
	probeInterval = 5 * time.Second
	probeTimeout  = 10 * time.Second
	// probesToRecover consecutive successes make an unreachable remote cluster
	// ready again, so that the node does not flap with a flapping link.
	probesToRecover = 2
)

// Probe repeatedly checks whether the remote API server reads and writes.
type Probe struct {
	remote  *cluster.Remote
	timeout time.Duration // longest silence before the node is not ready
	clock   clock.WithTicker

	mu        sync.Mutex
	answered  time.Time // time of the last answer
	lastError error
	inRow     int
	down      bool
}

// NewProbe returns a probe that considers a remote cluster unreachable after it
// has not answered for the given timeout.
func NewProbe(remote *cluster.Remote, timeout time.Duration, clock clock.WithTicker) *Probe {
	return &Probe{remote: remote, timeout: timeout, clock: clock, answered: clock.Now()}
}

// Run probes until ctx ends.
func (p *Probe) Run(ctx context.Context) {
	p.once(ctx)
	tick.Every(ctx, p.clock, probeInterval, p.once)
}

func (p *Probe) once(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := p.remote.Probe(bounded)
	if ctx.Err() == nil {
		p.record(err)
	}
}

func (p *Probe) record(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastError = err
	now := p.clock.Now()
	if err != nil {
		p.inRow = 0
		p.down = p.down || now.Sub(p.answered) >= p.timeout
		return
	}
	p.inRow++
	p.answered = now
	if p.inRow >= probesToRecover {
		p.down = false
	}
}

// ready reports whether the remote cluster is reliable. If it is not, the string
// gives the time since when, and the reason.
func (p *Probe) ready() (bool, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.down {
		return true, ""
	}
	return false, fmt.Sprintf("the remote API server has not answered reliably since %s: %v",
		p.answered.UTC().Format(time.RFC3339), p.lastError)
}

// LastAnswered returns when the remote last answered a probe.
func (p *Probe) LastAnswered() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answered
}

// Check is ready in the form of a readiness check.
func (p *Probe) Check(context.Context) error {
	if ok, reason := p.ready(); !ok {
		return errors.New(reason)
	}
	return nil
}
