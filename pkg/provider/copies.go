package provider

import (
	"context"
	"sync"
)

// copies keeps the remote copies of one kind of referenced objects like the
// local ones, which always win.
type copies[T object] struct {
	keeper[T]
	references *references[T]
	queue      queue

	remoteName func(local string) string
	translate  func(local T) T

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
	var want T
	local := c.references.state(space.local, name)
	if local.used && (!local.read || local.refused != nil) {
		// An object that may not be read is not a deleted one: keep its copy.
		if local.read {
			c.wake(space, name)
		}
		return nil
	}
	if local.object != want {
		want = c.translate(local.object)
	}
	settled, err := c.keep(ctx, space, c.remoteName(name), want)
	if settled {
		c.wake(space, name)
	}
	return err
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
