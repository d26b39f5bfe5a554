package provider

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/credential"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/node"
)

// rejectedError means that the remote cluster does not accept akd's credential.
// Somebody has to give akd another one; akd waits for it.
type rejectedError struct {
	err error
	// warn records an event on the node.
	warn credential.Warn
	// mark says on the Node that it is not ready, and why.
	mark func(ctx context.Context, reason, message string)
}

// Error implements error.
func (e *rejectedError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *rejectedError) Unwrap() error { return e.err }

// report says on the node what somebody has to do. Events are for people: not each
// attempt of akd's is one.
func (e *rejectedError) report(ctx context.Context, remind bool) {
	if remind {
		e.warn(ctx, contract.ReasonCredentialRejected, e.Error())
	}
	e.mark(ctx, contract.ReasonCredentialRejected, e.Error())
}

// rejected explains that a cluster does not accept the credential in the Secret:
// akd was away for longer than it was valid. The local cluster is not told that it
// rejects akd: it does not let akd write.
func (c connector) rejected(connected *clients, side string, err error) error {
	if connected.credential == nil || connected.credential.Side != side || !apierrors.IsUnauthorized(err) {
		return err
	}
	err = fmt.Errorf("%w: %w", connected.credential.Rejection(c.cfg.NodeName), err)
	if side == sideLocal {
		return err
	}
	return &rejectedError{
		err:  err,
		warn: connected.warnOfNode(c.cfg.NodeName, c.clock, c.logger),
		mark: func(ctx context.Context, reason, message string) {
			if err := (node.NotReady{Reason: reason, Message: message, Now: c.clock.Now()}).Mark(ctx, connected.local); err != nil {
				c.logger.Debug("node not marked", "reason", reason, "error", err)
			}
		},
	}
}
