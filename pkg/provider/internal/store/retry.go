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
	// longSteps attempts take about two seconds in total: the waits are 5, 10, …
	// 320 ms, and then 500 ms twice.
	longSteps = 10
	// shortSteps attempts take about a fifth of a second in total.
	shortSteps = 6
)

// RetryForbidden retries a request for about two seconds while it is forbidden.
// The Node authorizer's graph and a new RoleBinding lag behind the binding of a
// pod by milliseconds, so only a lasting refusal counts.
// https://kubernetes.io/docs/reference/access-authn-authz/node/
func RetryForbidden[R any](ctx context.Context, request func() (R, error)) (R, error) {
	return retry(ctx, longSteps, func(err error) bool { return !apierrors.IsForbidden(err) }, request)
}

// RetryUnknown retries a request for a fifth of a second while it is forbidden or
// its object is not found. Use it if the request blocks a worker that other pods
// need and the API server answers from its own caches, which may not contain new
// objects yet.
func RetryUnknown[R any](ctx context.Context, request func() (R, error)) (R, error) {
	return retry(ctx, shortSteps, func(err error) bool { return !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) }, request)
}

// retry makes a request until believed accepts its error, at most steps times.
func retry[R any](ctx context.Context, steps int, believed func(error) bool, request func() (R, error)) (R, error) {
	var result R
	var last error
	asked := false
	backoff := wait.Backoff{Duration: firstWait, Factor: 2, Steps: steps, Cap: longestWait, Jitter: 0.1}
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(context.Context) (bool, error) {
		asked = true
		result, last = request()
		return believed(last), nil
	})
	if !asked {
		return result, err // ctx had ended before
	}
	return result, last
}
