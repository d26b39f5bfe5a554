package approver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
)

// longestWatch is more than a watch ever lasts: client-go has the API server end each
// one after 5 to 10 minutes, and begins the next one.
// https://github.com/kubernetes/client-go/blob/v0.37.0/tools/cache/reflector.go (minWatchTimeout)
const longestWatch = 20 * time.Minute

// pulse tells whether watches work: by what the API server answered last, and by when
// somebody last asked.
type pulse struct {
	clock clock.PassiveClock
	begun time.Time

	mu      sync.Mutex
	asked   map[string]time.Time // by the name of a watch
	refused map[string]error
}

func newPulse(clock clock.PassiveClock) *pulse {
	return &pulse{clock: clock, begun: clock.Now(), asked: map[string]time.Time{}, refused: map[string]error{}}
}

// watched returns the same source, whose answers are noted.
func (p *pulse) watched(src store.ListWatch) store.ListWatch {
	list, watches := src.List, src.Watch
	p.mu.Lock()
	p.asked[src.Name] = p.begun
	p.mu.Unlock()
	src.List = func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		found, err := list(ctx, options)
		p.note(src.Name, err)
		return found, err
	}
	src.Watch = func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
		events, err := watches(ctx, options)
		p.note(src.Name, err)
		return events, err
	}
	return src
}

func (p *pulse) note(name string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[name], p.refused[name] = p.clock.Now(), err
}

// problem returns the last answers that were none.
func (p *pulse) problem() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []error
	for name, err := range p.refused {
		if err != nil {
			all = append(all, fmt.Errorf("watch %s: %w", name, err))
		}
	}
	return errors.Join(all...)
}

// stopped returns an error if a watch has not begun anew for too long.
func (p *pulse) stopped() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, at := range p.asked {
		if p.clock.Since(at) > longestWatch {
			return fmt.Errorf("watch %s has not begun anew for %s", name, p.clock.Since(at))
		}
	}
	return nil
}
