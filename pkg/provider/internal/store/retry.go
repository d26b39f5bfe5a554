package store

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
)

// The wait before each retry doubles, from firstWait up to longestWait.
const (
	firstWait   = 5 * time.Millisecond
	longestWait = 500 * time.Millisecond
	// steps attempts take about two seconds in total: the waits are 5, 10, …
	// 320 ms, and then 500 ms twice.
	steps = 10
)

// RetryForbidden retries a request for about two seconds while it is forbidden:
// the Node authorizer's graph and a new RoleBinding lag behind the binding of a
// pod by milliseconds, so only a lasting refusal counts. Use it where no queue repeats
// the request soon.
// https://kubernetes.io/docs/reference/access-authn-authz/node/
func RetryForbidden[R any](ctx context.Context, request func() (R, error)) (R, error) {
	var result R
	var last error
	asked := false
	backoff := wait.Backoff{Duration: firstWait, Factor: 2, Steps: steps, Cap: longestWait, Jitter: 0.1}
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(context.Context) (bool, error) {
		asked = true
		result, last = request()
		return !apierrors.IsForbidden(last), nil
	})
	if !asked {
		return result, err // ctx had ended before
	}
	return result, last
}
