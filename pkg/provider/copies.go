package provider

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// copies keeps the remote copies of one kind of referenced objects like the
// local ones, which always win.
type copies[T object] struct {
	kind       kind
	references *references[T]
	queue      queue
	writer     writer[T]

	copied     func(*space) *objects[T]
	remoteName func(local string) string
	translate  func(local T) T
	same       func(have, want T) bool
	fixed      func(have, want T) bool // no update leads from have to want

	mu      sync.Mutex
	waiting map[key]map[key]bool // pods that wait for a copy
}

// settled reports whether the remote copy is what the local object asks for,
// or none where there is none. Otherwise the pod is queued again once it is.
func (c *copies[T]) settled(space *space, name string, pod key) bool {
	id := key{c.kind, space.local, name}
	c.mu.Lock()
	if c.waiting[id] == nil {
		c.waiting[id] = map[key]bool{}
	}
	c.waiting[id][pod] = true
	c.mu.Unlock()
	if !c.like(space, name) {
		c.queue.Add(id)
		return false
	}
	c.mu.Lock()
	delete(c.waiting[id], pod)
	if len(c.waiting[id]) == 0 {
		delete(c.waiting, id)
	}
	c.mu.Unlock()
	return true
}

func (c *copies[T]) like(space *space, name string) bool {
	var none T
	local := c.references.state(space.local, name)
	have := c.copied(space).get(space.remote, c.remoteName(name))
	switch {
	case !local.read:
		return false
	case local.refused != nil:
		return true
	case local.object == none:
		return have == none
	default:
		return have != none && c.same(have, c.translate(local.object))
	}
}

// reconcile makes the remote copy like the local object, and removes it when
// the local one is gone or nothing refers to it any more.
func (c *copies[T]) reconcile(ctx context.Context, space *space, name string) error {
	var none T
	local := c.references.state(space.local, name)
	have := c.copied(space).get(space.remote, c.remoteName(name))
	if local.used && (!local.read || local.refused != nil) {
		// An object that may not be read is not a deleted one: keep its copy.
		if local.read {
			c.wake(space, name)
		}
		return nil
	}
	if local.object == none {
		if have != none {
			return c.remove(ctx, have)
		}
		c.wake(space, name)
		return nil
	}
	want := c.translate(local.object)
	if have == none {
		return c.create(ctx, space, name, want)
	}
	if c.same(have, want) {
		c.wake(space, name)
		return nil
	}
	return c.update(ctx, space, have, want)
}

func (c *copies[T]) create(ctx context.Context, space *space, name string, want T) error {
	created, err := c.writer.create(ctx, want)
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create remote %s %s/%s: one that akd did not make is in the way: delete or rename it: %w",
			c.kind, want.GetNamespace(), want.GetName(), err)
	}
	if err != nil {
		return fmt.Errorf("create remote %s %s/%s: %w", c.kind, want.GetNamespace(), want.GetName(), err)
	}
	c.copied(space).put(created)
	c.wake(space, name)
	return nil
}

// update replaces what the API server would refuse to update in two steps: the
// copy is deleted, and created anew when the deletion is seen.
func (c *copies[T]) update(ctx context.Context, space *space, have, want T) error {
	if c.fixed(have, want) {
		return c.remove(ctx, have)
	}
	want.SetResourceVersion(have.GetResourceVersion())
	updated, err := c.writer.update(ctx, want)
	if err != nil {
		return fmt.Errorf("update remote %s %s/%s: %w", c.kind, want.GetNamespace(), want.GetName(), err)
	}
	c.copied(space).put(updated)
	return nil
}

func (c *copies[T]) remove(ctx context.Context, have T) error {
	err := c.writer.remove(ctx, have.GetNamespace(), have.GetName(), deleteExactly(have.GetUID()))
	if err != nil && !gone(err) {
		return fmt.Errorf("delete remote %s %s/%s: %w", c.kind, have.GetNamespace(), have.GetName(), err)
	}
	return nil
}

// wake queues the pods that wait for the copy.
func (c *copies[T]) wake(space *space, name string) {
	id := key{c.kind, space.local, name}
	c.mu.Lock()
	pods := c.waiting[id]
	delete(c.waiting, id)
	c.mu.Unlock()
	for pod := range pods {
		c.queue.Add(pod)
	}
}
