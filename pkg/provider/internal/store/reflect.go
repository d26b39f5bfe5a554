package store

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
)

// earlyMargin is how much earlier than asked for a watch may end without having
// been interrupted.
const earlyMargin = 5 * time.Second

// Each calls do until ctx ends, again whenever the cluster has gone back in time;
// see Timeline. The context of do ends with the epoch.
func (l ListWatch) Each(ctx context.Context, do func(context.Context)) {
	l.Timeline.each(ctx, func(ctx context.Context, _ *epoch, _ bool) { do(ctx) })
}

// Run keeps the objects up to date until ctx ends.
func (o *Store[T]) Run(ctx context.Context, src ListWatch) {
	src.Timeline.each(ctx, func(ctx context.Context, now *epoch, anew bool) {
		r := &reflection[T]{Store: o, src: src, epoch: now, anew: anew}
		var expected T
		lw := cache.ToListWatcherWithWatchListSemantics(
			&cache.ListWatch{ListWithContextFunc: r.list, WatchFuncWithContext: r.watch}, src.Client)
		cache.NewReflectorWithOptions(lw, expected, r, cache.ReflectorOptions{
			Name:    src.Name,
			Backoff: &wait.Backoff{Duration: 100 * time.Millisecond, Cap: 15 * time.Second, Steps: 9, Factor: 2, Jitter: 0.5},
		}).RunWithContext(ctx)
	})
}

// reflection is what a reflector sees of a store during one epoch of its
// cluster. Only the reflector uses it, one call at a time.
type reflection[T Object] struct {
	*Store[T]
	src   ListWatch
	epoch *epoch
	// anew makes the next list replace all that the store knows.
	anew bool

	// consistent reports whether the last list was a consistent one, and known is
	// what the store knew when it began: such a list cannot be earlier.
	consistent bool
	known      string

	// began and timeout describe the last watch. suspect reports that a watch could
	// not begin.
	began   time.Time
	timeout time.Duration
	suspect bool
	// unanswered reports that how far the cluster is could not be found out. A
	// consistent list tells it as well.
	unanswered bool
}

func (r *reflection[T]) list(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	if opts.ResourceVersion == "0" || r.unanswered {
		opts.ResourceVersion = "" // an API server's cache may be in the past, or in a time that was lost
	}
	if opts.Continue == "" {
		r.begin(opts.ResourceVersion == "")
	}
	list, err := unlessRefused(ctx, r.Refusal() != nil, func() (runtime.Object, error) { return r.src.List(ctx, opts) })
	r.NoteRefusal(err)
	return list, err
}

// unlessRefused is RetryForbidden, but tries once if it was refused before: that lasts,
// and the reflector tries again.
func unlessRefused[R any](ctx context.Context, refused bool, request func() (R, error)) (R, error) {
	if refused {
		return request()
	}
	return RetryForbidden(ctx, request)
}

// begin notes what is known before a list, or before a watch that begins with
// one.
func (r *reflection[T]) begin(consistent bool) {
	r.consistent = consistent
	r.known, _ = r.knows()
	r.began, r.suspect = time.Time{}, false
}

// watch verifies first that the cluster has not gone back in time, if the last
// watch was interrupted: an API server does not refuse to watch from a version
// that does not exist yet, but reports nothing until then. So there is no watch
// without an answer.
func (r *reflection[T]) watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	if ptr.Deref(opts.SendInitialEvents, false) {
		if r.unanswered {
			opts.ResourceVersion = ""
		}
		r.begin(opts.ResourceVersion == "")
	} else if r.wasInterrupted() {
		if err := r.verify(ctx); err != nil {
			return nil, err
		}
	}
	r.began, r.timeout = time.Now(), time.Duration(ptr.Deref(opts.TimeoutSeconds, 0))*time.Second
	watch, err := unlessRefused(ctx, r.Refusal() != nil, func() (watch.Interface, error) { return r.src.Watch(ctx, opts) })
	r.suspect = r.suspect || err != nil
	return watch, err
}

func (r *reflection[T]) wasInterrupted() bool {
	return r.suspect || r.unanswered || !r.began.IsZero() && time.Since(r.began) < r.timeout-earlyMargin
}

func (r *reflection[T]) verify(ctx context.Context) error {
	known, since := r.knows()
	version, err := r.src.Timeline.current(ctx, kindOf[T](), since, r.src.List)
	r.suspect, r.unanswered = false, err != nil
	if err == nil && isEarlier(version, known) {
		r.src.Timeline.goBack(r.epoch, known, version)
	}
	return err
}

// Replace implements cache.ReflectorStore.
func (r *reflection[T]) Replace(list []any, version string) error {
	known := ""
	if r.consistent {
		known = r.known
	}
	lost, err := r.replace(list, version, known, r.anew)
	if err != nil {
		return err
	}
	r.anew, r.unanswered = false, false
	if lost != "" {
		r.src.Timeline.goBack(r.epoch, lost, version)
	}
	return nil
}

func kindOf[T Object]() string {
	var none T
	return fmt.Sprintf("%T", none)
}
