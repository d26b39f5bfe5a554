package mirror

import (
	"context"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	mirrored[T]

	watcher *Watcher[T]
	queue   queue.Adder

	mu        sync.Mutex
	waiting   map[queue.Key]map[queue.Key]bool // pods that wait for a copy
	compared  map[queue.Key]comparison[T]
	displaced map[queue.Key]bool      // the local name belongs to a foreign object
	looked    map[queue.Key]time.Time // when akd looked for a foreign object of the name
	failed    map[queue.Key]error
}

// mirrored is what one kind of referenced objects has of its own.
type mirrored[T store.Object] struct {
	syncer[T]

	translate func(to translate.Site, local T, name string) T
	// foreign asks the remote API server whether there is an object of that name that
	// akd has not made.
	foreign func(ctx context.Context, namespace, name string) (bool, error)
	// everywhere reports whether every remote namespace has its own object of that
	// name.
	everywhere func(name string) bool
}

// comparison is the last result for an object. A comparison reads the whole
// content, and the pods of a Deployment, or a pod with many references, would
// repeat it for each.
type comparison[T store.Object] struct {
	local, copied T
	same          bool
}

// lookValid is how long akd relies on having looked for a foreign object in place of an
// absent one: long enough for all that one pod refers to.
const lookValid = time.Minute

// NewConfigMaps returns the mirror of the ConfigMaps that watcher watches.
func NewConfigMaps(
	remote *cluster.Remote, watcher *Watcher[*corev1.ConfigMap], adder queue.Adder,
) *Referenced[*corev1.ConfigMap] {
	return newReferenced(watcher, adder, mirrored[*corev1.ConfigMap]{
		syncer: syncer[*corev1.ConfigMap]{
			kind:   queue.ConfigMap,
			writer: remote.ConfigMapWriter(),
			copied: func(n *namespaces.Namespace) *store.Store[*corev1.ConfigMap] { return n.ConfigMaps },
			inSync: translate.SameConfigMap,
			fixed:  func(have, _ *corev1.ConfigMap) bool { return ptr.Deref(have.Immutable, false) },
		},
		translate:  translate.Site.ConfigMap,
		foreign:    remote.HasForeignConfigMap,
		everywhere: func(name string) bool { return name == contract.RootCAConfigMap },
	})
}

// NewSecrets returns the mirror of the Secrets that watcher watches.
func NewSecrets(remote *cluster.Remote, watcher *Watcher[*corev1.Secret], adder queue.Adder) *Referenced[*corev1.Secret] {
	return newReferenced(watcher, adder, mirrored[*corev1.Secret]{
		syncer: syncer[*corev1.Secret]{
			kind:   queue.Secret,
			writer: remote.SecretWriter(),
			copied: func(n *namespaces.Namespace) *store.Store[*corev1.Secret] { return n.Secrets },
			inSync: translate.SameSecret,
			fixed: func(have, want *corev1.Secret) bool {
				return ptr.Deref(have.Immutable, false) || have.Type != want.Type
			},
		},
		translate:  translate.Site.Secret,
		foreign:    remote.HasForeignSecret,
		everywhere: func(string) bool { return false },
	})
}

func newReferenced[T store.Object](watcher *Watcher[T], adder queue.Adder, kind mirrored[T]) *Referenced[T] {
	return &Referenced[T]{
		mirrored:  kind,
		watcher:   watcher,
		queue:     adder,
		waiting:   map[queue.Key]map[queue.Key]bool{},
		compared:  map[queue.Key]comparison[T]{},
		displaced: map[queue.Key]bool{},
		looked:    map[queue.Key]time.Time{},
		failed:    map[queue.Key]error{},
	}
}

// Local returns the local object, or nil if there is none that akd may read.
func (m *Referenced[T]) Local(namespace, name string) T {
	return m.watcher.Observe(namespace, name).Object
}

// Displaced reports whether the copy has a reserved name, because the local name
// belongs to an object that akd did not make. That holds until the copy is deleted: it
// is what pods refer to.
func (m *Referenced[T]) Displaced(namespace *namespaces.Namespace, name string) bool {
	if m.everywhere(name) {
		return true
	}
	m.mu.Lock()
	displaced := m.displaced[m.kind.Key(namespace.Local, name)]
	m.mu.Unlock()
	var none T
	reserved := contract.ReservedName(name)
	return displaced || reserved != "" && m.copied(namespace).Get(namespace.Name, reserved) != none
}

// remoteName returns the name of the copy.
func (m *Referenced[T]) remoteName(namespace *namespaces.Namespace, name string) string {
	if m.Displaced(namespace, name) {
		return contract.ReservedName(name)
	}
	return name
}

// Failure returns why the last attempts to bring the copy up to date have failed, or
// nil.
func (m *Referenced[T]) Failure(namespace *namespaces.Namespace, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed[m.kind.Key(namespace.Local, name)]
}

// InSync reports whether the remote copy matches the local object, or neither exists
// and akd knows what else has the name. Otherwise, it queues the pod again once they
// match, or have been found not to; see Failure.
func (m *Referenced[T]) InSync(namespace *namespaces.Namespace, name string, pod queue.Key) bool {
	id := m.kind.Key(namespace.Local, name)
	m.mu.Lock()
	if m.waiting[id] == nil {
		m.waiting[id] = map[queue.Key]bool{}
	}
	m.waiting[id][pod] = true
	failed := m.failed[id] != nil
	m.mu.Unlock()
	if !m.isInSync(namespace, name) {
		if !failed { // otherwise, the queue has it already, with back-off
			m.queue.Add(id)
		}
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
	have := m.copied(namespace).Get(namespace.Name, m.remoteName(namespace, name))
	switch {
	case !local.Read:
		return false
	case local.Refused != nil:
		return m.hasLooked(namespace, name)
	case local.Object == none:
		return have == none && m.hasLooked(namespace, name)
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
	same := m.inSync(copied, m.translate(namespace.Site, local, copied.GetName()))
	m.mu.Lock()
	m.compared[id] = comparison[T]{local, copied, same}
	m.mu.Unlock()
	return same
}

// Reconcile updates the remote copy from the local object, and deletes it if
// the local one is gone or no pod refers to it any more. attempts is the number of
// failures in a row.
func (m *Referenced[T]) Reconcile(ctx context.Context, namespace *namespaces.Namespace, name string, attempts int) error {
	var none T
	local := m.watcher.Observe(namespace.Local, name)
	switch {
	case local.Used && !local.Read:
		return nil
	case local.Used && local.Refused != nil:
		// An unreadable object is not a deleted one: keep its copy.
		return m.look(ctx, namespace, name, attempts)
	case local.Object == none:
		if gone, err := m.remove(ctx, namespace, name); err != nil || !gone {
			if m.note(namespace, name, err, attempts) {
				m.wake(namespace, name)
			}
			return err // the watch queues the object again, and so do pods that wait
		}
		if local.Used {
			return m.look(ctx, namespace, name, attempts)
		}
		m.Forget(namespace.Local, name)
		m.wake(namespace, name)
		return nil
	}
	copyName := m.remoteName(namespace, name)
	done, err := m.sync(ctx, namespace, copyName, m.translate(namespace.Site, local.Object, copyName))
	if apierrors.IsAlreadyExists(err) && copyName == name {
		err = m.displace(ctx, namespace, name, err)
	}
	if m.note(namespace, name, err, attempts) || done {
		m.wake(namespace, name)
	}
	return err
}

// remove deletes the copy of an object that is gone, and reports whether there is none
// any more.
func (m *Referenced[T]) remove(ctx context.Context, namespace *namespaces.Namespace, name string) (gone bool, err error) {
	var none T
	gone = true
	for _, copyName := range []string{name, contract.ReservedName(name)} {
		done, err := m.sync(ctx, namespace, copyName, none)
		if err != nil {
			return false, err
		}
		gone = gone && done
	}
	return gone, nil
}

// look lets pods that refer to an object that akd does not have start. If an object that
// akd did not make has the name, they refer to a reserved name instead.
func (m *Referenced[T]) look(ctx context.Context, namespace *namespaces.Namespace, name string, attempts int) error {
	var err error
	if !m.everywhere(name) {
		_, err = m.yield(ctx, namespace, name)
	}
	told := m.note(namespace, name, err, attempts)
	if err == nil {
		id := m.kind.Key(namespace.Local, name)
		m.mu.Lock()
		m.looked[id] = time.Now()
		delete(m.compared, id)
		m.mu.Unlock()
	}
	if told || err == nil {
		m.wake(namespace, name)
	}
	return err
}

// hasLooked reports whether look has succeeded recently.
func (m *Referenced[T]) hasLooked(namespace *namespaces.Namespace, name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.looked[m.kind.Key(namespace.Local, name)]) < lookValid
}

// displace creates a copy whose name is taken under a reserved name, if an object that
// akd did not make has taken it.
func (m *Referenced[T]) displace(ctx context.Context, namespace *namespaces.Namespace, name string, exists error) error {
	yielded, err := m.yield(ctx, namespace, name)
	if err != nil {
		return err
	}
	if !yielded {
		return exists
	}
	m.queue.Add(m.kind.Key(namespace.Local, name))
	return nil
}

// yield leaves the local name to an object that akd did not make, if there is one and
// there is a reserved name for the copy, and reports whether it does. It asks the API
// server, because caches lag.
func (m *Referenced[T]) yield(ctx context.Context, namespace *namespaces.Namespace, name string) (bool, error) {
	foreign, err := m.foreign(ctx, namespace.Name, name)
	if err != nil || !foreign || contract.ReservedName(name) == "" {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.displaced[m.kind.Key(namespace.Local, name)] = true
	return true, nil
}

// note keeps the result of an attempt, and reports whether it is a failure that the
// waiting pods do not know yet.
func (m *Referenced[T]) note(namespace *namespaces.Namespace, name string, err error, attempts int) bool {
	id := m.kind.Key(namespace.Local, name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		delete(m.failed, id)
		return false
	}
	if attempts < queue.QuietAttempts {
		return false
	}
	known := m.failed[id]
	m.failed[id] = err
	return known == nil || known.Error() != err.Error()
}

// Forget drops what is known of a local object that is gone, or of its copy when the
// remote namespace is: pods that wait for it ask for another one.
func (m *Referenced[T]) Forget(local, name string) {
	id := m.kind.Key(local, name)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.compared, id)
	delete(m.displaced, id)
	delete(m.looked, id)
	delete(m.failed, id)
}

// Prune drops what is known of local objects in namespaces that are not kept: once a
// remote namespace is closed, no change in it is seen, and pods ask again in the next one.
func (m *Referenced[T]) Prune(keep func(local string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dropped := func(id queue.Key) bool { return !keep(id.Namespace) }
	maps.DeleteFunc(m.waiting, func(id queue.Key, _ map[queue.Key]bool) bool { return dropped(id) })
	maps.DeleteFunc(m.compared, func(id queue.Key, _ comparison[T]) bool { return dropped(id) })
	maps.DeleteFunc(m.displaced, func(id queue.Key, _ bool) bool { return dropped(id) })
	maps.DeleteFunc(m.looked, func(id queue.Key, _ time.Time) bool { return dropped(id) })
	maps.DeleteFunc(m.failed, func(id queue.Key, _ error) bool { return dropped(id) })
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
