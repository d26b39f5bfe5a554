package namespaces

import (
	"sync"
	"time"
)

// Set holds the open mapped namespaces: verified as akd's own, and watched.
type Set struct {
	mu      sync.Mutex
	open    map[string]*Namespace // by local namespace
	opening map[string]bool       // local namespaces that are being opened
}

// NewSet returns an empty set.
func NewSet() *Set {
	return &Set{open: map[string]*Namespace{}, opening: map[string]bool{}}
}

// Get returns the remote namespace of a local one, or nil until its content has
// been read.
func (n *Set) Get(local string) *Namespace {
	n.mu.Lock()
	defer n.mu.Unlock()
	if found := n.open[local]; found != nil && found.read() {
		return found
	}
	return nil
}

// All returns every open namespace, read or not.
func (n *Set) All() []*Namespace {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*Namespace, 0, len(n.open))
	for _, namespace := range n.open {
		all = append(all, namespace)
	}
	return all
}

// Read reports whether every open namespace has been read.
func (n *Set) Read() bool {
	for _, namespace := range n.All() {
		if !namespace.read() {
			return false
		}
	}
	return true
}

// Forget stops watching a namespace that somebody deleted; it is looked up
// again when it is needed.
func (n *Set) Forget(gone *Namespace) {
	n.mu.Lock()
	if n.open[gone.Local] == gone {
		delete(n.open, gone.Local)
	}
	n.mu.Unlock()
	gone.end()
}

func (n *Set) add(opened *Namespace) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open[opened.Local] = opened
}

// startOpening claims the opening of a namespace. It returns false if the
// namespace is open or already being opened.
func (n *Set) startOpening(local string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open[local] != nil || n.opening[local] {
		return false
	}
	n.opening[local] = true
	return true
}

// finishOpening releases the claim and reports whether the namespace is open.
func (n *Set) finishOpening(local string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.opening, local)
	return n.open[local] != nil
}

// expired reports whether no pod has used a namespace for ttl.
func (n *Set) expired(namespace *Namespace, now time.Time, ttl time.Duration, used bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if used || !namespace.read() || namespace.Pods.Len() != 0 || namespace.Pods.Refusal() != nil {
		namespace.unusedFor = time.Time{}
		return false
	}
	if namespace.unusedFor.IsZero() {
		namespace.unusedFor = now
	}
	return now.Sub(namespace.unusedFor) >= ttl
}

// checkIsDue reports whether to check a namespace in which akd was forbidden
// something, and if so records now as the time of that check.
func (n *Set) checkIsDue(namespace *Namespace, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(namespace.checked) < checkInterval {
		return false
	}
	namespace.checked = now
	return true
}
