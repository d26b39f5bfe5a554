package provider

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
)

const (
	probeInterval = 5 * time.Second
	probeTimeout  = 10 * time.Second
	// probesToRecover successes in a row make an unreachable remote ready
	// again, so that a flapping link does not flap the node.
	probesToRecover = 2
)

// probe asks the remote API server time and again whether it reads and writes.
type probe struct {
	remote  *remoteCluster
	timeout time.Duration // how long it may be silent before the node is not ready
	clock   clock.PassiveClock

	mu        sync.Mutex
	answered  time.Time // when it last answered
	lastError error
	inRow     int
	down      bool
}

// run probes until ctx ends.
func (p *probe) run(ctx context.Context) {
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for {
		p.once(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p *probe) once(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := p.remote.answers(bounded)
	if ctx.Err() == nil {
		p.note(err)
	}
}

func (p *probe) note(err error) {
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

// ready reports whether the remote can be relied on, or since when it cannot
// and why.
func (p *probe) ready() (bool, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.down {
		return true, ""
	}
	return false, fmt.Sprintf("the remote API server has not answered reliably since %s: %v", p.answered.UTC().Format(time.RFC3339), p.lastError)
}

// lastAnswered returns when the remote last answered a probe.
func (p *probe) lastAnswered() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answered
}

// check is ready as a readiness check.
func (p *probe) check(context.Context) error {
	if ok, why := p.ready(); !ok {
		return errors.New(why)
	}
	return nil
}

// answers makes one read that needs storage and one write that needs
// authorization. Neither leaves a trace, and a tenant may do both: the read is
// what akd knows the cluster by, the write is open to all who are known. Where
// an administrator has closed that, the refusal is an answer as well.
func (c *remoteCluster) answers(ctx context.Context) error {
	if _, err := c.namespace(ctx, metav1.NamespaceSystem); err != nil {
		return err
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "namespaces"},
	}}
	_, err := c.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil && !apierrors.IsForbidden(err) {
		return fmt.Errorf("create selfsubjectaccessreview: %w", err)
	}
	return nil
}
