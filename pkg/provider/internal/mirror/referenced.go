package mirror

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// Referenced keeps the remote copies of one kind of referenced objects in sync
// with the local ones, which always win.
type Referenced[T store.Object] struct {
	syncer[T]

	watcher    *Watcher[T]
	queue      queue.Adder
	remoteName func(local string) string
	translate  func(to translate.Site, local T) T

	mu       sync.Mutex
	waiting  map[queue.Key]map[queue.Key]bool // pods that wait for a copy
	compared map[queue.Key]comparison[T]
}

// comparison is the last result for an object. A comparison reads the whole
// content, and the pods of a Deployment, or a pod with many references, would
// repeat it for each.
type comparison[T store.Object] struct {
	local, copied T
	same          bool
}

// NewConfigMaps returns the mirror of the ConfigMaps that watcher watches.
func NewConfigMaps(
	remote *cluster.Remote, watcher *Watcher[*corev1.ConfigMap], adder queue.Adder,
) *Referenced[*corev1.ConfigMap] {
	return &Referenced[*corev1.ConfigMap]{
		syncer: syncer[*corev1.ConfigMap]{
			kind:   queue.ConfigMap,
			writer: remote.ConfigMapWriter(),
			copied: func(n *namespaces.Namespace) *store.Store[*corev1.ConfigMap] { return n.ConfigMaps },
			inSync: translate.SameConfigMap,
			fixed:  func(have, _ *corev1.ConfigMap) bool { return ptr.Deref(have.Immutable, false) },
		},
		watcher:    watcher,
		queue:      adder,
		remoteName: contract.ConfigMapName,
		translate:  translate.Site.ConfigMap,
		waiting:    map[queue.Key]map[queue.Key]bool{},
		compared:   map[queue.Key]comparison[*corev1.ConfigMap]{},
	}
}

// NewSecrets returns the mirror of the Secrets that watcher watches.
func NewSecrets(remote *cluster.Remote, watcher *Watcher[*corev1.Secret], adder queue.Adder) *Referenced[*corev1.Secret] {
	return &Referenced[*corev1.Secret]{
		syncer: syncer[*corev1.Secret]{
			kind:   queue.Secret,
			writer: remote.SecretWriter(),
			copied: func(n *namespaces.Namespace) *store.Store[*corev1.Secret] { return n.Secrets },
			inSync: translate.SameSecret,
			fixed: func(have, want *corev1.Secret) bool {
				return ptr.Deref(have.Immutable, false) || have.Type != want.Type
			},
		},
		watcher:    watcher,
		queue:      adder,
		remoteName: func(name string) string { return name },
		translate:  translate.Site.Secret,
		waiting:    map[queue.Key]map[queue.Key]bool{},
		compared:   map[queue.Key]comparison[*corev1.Secret]{},
	}
}

// Local returns the local object, or nil if there is none that akd may read.
func (m *Referenced[T]) Local(namespace, name string) T {
	return m.watcher.Observe(namespace, name).Object
}

// InSync reports whether the remote copy matches the local object, or neither
// exists. Otherwise, it queues the pod again once they match.
func (m *Referenced[T]) InSync(namespace *namespaces.Namespace, name string, pod queue.Key) bool {
	id := m.kind.Key(namespace.Local, name)
	m.mu.Lock()
	if m.waiting[id] == nil {
		m.waiting[id] = map[queue.Key]bool{}
	}
	m.waiting[id][pod] = true
	m.mu.Unlock()
	if !m.isInSync(namespace, name) {
		m.queue.Add(id)
		return false
	}
	m.mu.Lock()
	delete(m.waiting[id], pod)
	if len(m.waiting[id]) == 0 {
		delete(m.waiting, id)
	}
	m.mu.Unlock()
	return true
}

func (m *Referenced[T]) isInSync(namespace *namespaces.Namespace, name string) bool {
	var none T
	local := m.watcher.Observe(namespace.Local, name)
	have := m.copied(namespace).Get(namespace.Name, m.remoteName(name))
	switch {
	case !local.Read:
		return false
	case local.Refused != nil:
		return true
	case local.Object == none:
		return have == none
	default:
		return have != none && m.same(namespace, local.Object, have)
	}
}

// same reports whether the copy matches the local object. Cached objects never
// change, so neither does the result for two of them.
func (m *Referenced[T]) same(namespace *namespaces.Namespace, local, copied T) bool {
	id := m.kind.Key(namespace.Local, local.GetName())
	m.mu.Lock()
	last := m.compared[id]
	m.mu.Unlock()
	if last.local == local && last.copied == copied {
		return last.same
	}
	same := m.inSync(copied, m.translate(namespace.Site, local))
	m.mu.Lock()
	m.compared[id] = comparison[T]{local, copied, same}
	m.mu.Unlock()
	return same
}

// Reconcile updates the remote copy from the local object, and deletes it if
// the local one is gone or no pod refers to it any more.
func (m *Referenced[T]) Reconcile(ctx context.Context, namespace *namespaces.Namespace, name string) error {
	var want T
	local := m.watcher.Observe(namespace.Local, name)
	if local.Used && (!local.Read || local.Refused != nil) {
		// An unreadable object is not a deleted one: keep its copy.
		if local.Read {
			m.wake(namespace, name)
		}
		return nil
	}
	if local.Object != want {
		want = m.translate(namespace.Site, local.Object)
	} else {
		m.forget(namespace, name)
	}
	done, err := m.sync(ctx, namespace, m.remoteName(name), want)
	if done {
		m.wake(namespace, name)
	}
	return err
}

// forget drops the last comparison of an object that is gone.
func (m *Referenced[T]) forget(namespace *namespaces.Namespace, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.compared, m.kind.Key(namespace.Local, name))
}

// wake queues the pods that wait for the copy.
func (m *Referenced[T]) wake(namespace *namespaces.Namespace, name string) {
	id := m.kind.Key(namespace.Local, name)
	m.mu.Lock()
	pods := m.waiting[id]
	delete(m.waiting, id)
	m.mu.Unlock()
	for pod := range pods {
		m.queue.Add(pod)
	}
}
