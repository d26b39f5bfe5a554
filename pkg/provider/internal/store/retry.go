package store

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
)

// The waits of a repeated request double from the first one, up to the longest.
const (
	firstWait   = 5 * time.Millisecond
	longestWait = 500 * time.Millisecond
	// longSteps requests take about two seconds together: 5, 10, … 320 ms and
	// then 500 ms twice.
	longSteps = 10
	// shortSteps requests take about a fifth of a second.
	shortSteps = 6
)

// RetryForbidden repeats a request that is forbidden for about two seconds. The
// Node authorizer's graph, and a fresh RoleBinding, lag behind the binding of a
// pod by milliseconds: a refusal is believed only when it lasts.
// https://kubernetes.io/docs/reference/access-authn-authz/node/
func RetryForbidden[R any](ctx context.Context, request func() (R, error)) (R, error) {
	return retry(ctx, longSteps, func(err error) bool { return !apierrors.IsForbidden(err) }, request)
}

// RetryUnknown repeats a request that is forbidden, or whose object is not
// found, for a fifth of a second: where a worker waits that other pods need, and
// where the API server answers from caches of its own, which may not know yet
// what is new.
func RetryUnknown[R any](ctx context.Context, request func() (R, error)) (R, error) {
	return retry(ctx, shortSteps, func(err error) bool { return !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) }, request)
}

// retry makes a request that many times at most, until its answer is believed.
func retry[R any](ctx context.Context, steps int, believed func(error) bool, request func() (R, error)) (R, error) {
	var result R
	var last error
	backoff := wait.Backoff{Duration: firstWait, Factor: 2, Steps: steps, Cap: longestWait, Jitter: 0.1}
	_ = wait.ExponentialBackoffWithContext(ctx, backoff, func(context.Context) (bool, error) {
		result, last = request()
		return believed(last), nil
	})
	return result, last
}
