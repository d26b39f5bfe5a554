package provider

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/util/workqueue"
)

const (
	// A first retry comes at once, for the races that end within milliseconds;
	// the longest wait is what an operator can bear after an outage.
	retryFirst   = 10 * time.Millisecond
	retryLongest = 30 * time.Second
	// stepTimeout bounds the requests of one reconcile.
	stepTimeout = time.Minute
)

// controller takes keys from the queue and has them reconciled.
type controller struct {
	queue     workqueue.TypedRateLimitingInterface[key]
	reconcile func(ctx context.Context, k key, attempts int) error
	observe   func(result string, took time.Duration)
	logger    *slog.Logger
	taken     atomic.Uint64 // keys so far
}

// newQueue makes a queue that retries each key with its own back-off and
// never forgets one; see line for whose turn it is. There is no overall limit:
// what limits akd is the API servers' own priority and fairness.
func newQueue(metrics workqueue.MetricsProvider) workqueue.TypedRateLimitingInterface[key] {
	const name = "pods"
	return workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[key](retryFirst, retryLongest),
		workqueue.TypedRateLimitingQueueConfig[key]{
			DelayingQueue: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[key]{
				Name: name, MetricsProvider: metrics,
				Queue: workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[key]{Name: name, MetricsProvider: metrics, Queue: &line{}}),
			}),
		},
	)
}

// run works with that many workers until ctx ends, and returns when all have
// finished what they were at.
func (c *controller) run(ctx context.Context, workers int) {
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for c.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	c.queue.ShutDown()
	running.Wait()
}

func (c *controller) next(ctx context.Context) bool {
	k, shutdown := c.queue.Get()
	if shutdown {
		return false
	}
	defer c.queue.Done(k)
	c.taken.Add(1)
	bounded, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	attempts := c.queue.NumRequeues(k)
	began := time.Now()
	err := c.reconcile(bounded, k, attempts)
	if err == nil {
		c.observe("success", time.Since(began))
		c.queue.Forget(k)
		return true
	}
	if ctx.Err() != nil {
		return true
	}
	c.observe("error", time.Since(began))
	level := slog.LevelDebug
	if attempts == patience {
		level = slog.LevelWarn
	}
	c.logger.Log(ctx, level, "reconcile will be retried", "kind", k.kind, "namespace", k.namespace, "name", k.name, "attempts", attempts+1, "error", err)
	c.queue.AddRateLimited(k)
	return true
}
