package queue

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
)

const (
	// The first retry is immediate, for races that end within milliseconds: a
	// cache that lags behind a write, or an authorizer that lags behind a
	// binding. The longest wait is the maximum that an operator can accept after
	// an outage.
	retryFirst   = 10 * time.Millisecond
	retryLongest = 30 * time.Second
	// stepTimeout limits the requests of one reconcile.
	stepTimeout = time.Minute
)

// ErrWaits is what a reconcile returns for a key that waits for another one, which queues
// it again. That is no failure, and does not end a row of failures either.
var ErrWaits = errors.New("waits for another key")

// Workers pop keys from the queue and reconcile them.
type Workers struct {
	WorkersConfig

	taken atomic.Uint64 // keys popped so far
}

// WorkersConfig holds the dependencies of Workers.
type WorkersConfig struct {
	Queue workqueue.TypedRateLimitingInterface[Key]
	// Reconcile handles a key. attempts is the number of its consecutive
	// failures.
	Reconcile func(ctx context.Context, k Key, attempts int) error
	// Observe is called after each attempt.
	Observe func(result string, took time.Duration)
	Clock   clock.PassiveClock
	Logger  *slog.Logger
}

// NewWorkers returns workers. Run starts them.
func NewWorkers(config WorkersConfig) *Workers { return &Workers{WorkersConfig: config} }

// Taken returns the number of keys popped so far.
func (w *Workers) Taken() uint64 { return w.taken.Load() }

// New returns a queue that retries each key with its own back-off and never drops
// one. See fairQueue for the order. There is no overall rate limit: API Priority
// and Fairness of the API servers limits akd.
func New(metrics workqueue.MetricsProvider) workqueue.TypedRateLimitingInterface[Key] {
	const name = "pods"
	return workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[Key](retryFirst, retryLongest),
		workqueue.TypedRateLimitingQueueConfig[Key]{
			DelayingQueue: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[Key]{
				Name: name, MetricsProvider: metrics,
				Queue: workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[Key]{Name: name, MetricsProvider: metrics, Queue: &fairQueue{}}),
			}),
		},
	)
}

// Run runs the given number of workers until ctx ends. It returns after all of
// them have finished their current key.
func (w *Workers) Run(ctx context.Context, number int) {
	var running sync.WaitGroup
	for range number {
		running.Go(func() {
			for w.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	w.Queue.ShutDown()
	running.Wait()
}

func (w *Workers) next(ctx context.Context) bool {
	k, shutdown := w.Queue.Get()
	if shutdown {
		return false
	}
	defer w.Queue.Done(k)
	if ctx.Err() != nil {
		return true // a queue that shuts down hands out what is left
	}
	w.taken.Add(1)
	bounded, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	attempts := w.Queue.NumRequeues(k)
	began := w.Clock.Now()
	err := w.Reconcile(bounded, k, attempts)
	if err == nil || errors.Is(err, ErrWaits) {
		w.Observe("success", w.Clock.Since(began))
		if err == nil {
			w.Queue.Forget(k)
		}
		return true
	}
	if ctx.Err() != nil {
		return true
	}
	w.Observe("error", w.Clock.Since(began))
	level := slog.LevelDebug
	if attempts == QuietAttempts {
		level = slog.LevelWarn
	}
	w.Logger.Log(ctx, level, "reconcile will be retried",
		"kind", k.Kind, "namespace", k.Namespace, "name", k.Name, "attempts", attempts+1, "error", err)
	w.Queue.AddRateLimited(k)
	return true
}
