package scenario

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
)

// storage is what an API server has behind it: etcd, in which each write has a resource
// version of its own, and a watch cache, which may lag. A watch begins after a version
// and misses nothing from then on, or it is refused with 410 Gone. client-go's own
// tracker has no versions, and its watches report only what happens after they began.
// https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
type storage struct {
	changed func(*corev1.Pod)                   // sees each new state of a pod
	claimed func(*corev1.PersistentVolumeClaim) // sees each new state of a claim
	volumed func(*corev1.PersistentVolume)      // sees each new state of a volume
	noticed func(runtime.Object)                // hears of each change; nil is for all that may have changed

	mu        sync.Mutex
	version   int
	objects   map[objectKey]runtime.Object
	events    []change // by version
	compacted int      // what was before this version is forgotten
	silent    bool     // no watch reports anything; see scenario.do
	lagging   bool
	timedOut  time.Time     // see timeOut
	lagsBegun int           // how often it has begun to lag
	cached    int           // the version of a watch cache that lags
	cuts      int           // how often all watches were ended
	news      chan struct{} // is closed with the next event, or the end of a watch
	backup    *backup
	restored  time.Time // when it was restored last
}

var _ clienttesting.ObjectTracker = &storage{}

type objectKey struct {
	resource        schema.GroupVersionResource
	namespace, name string
}

// change is one event, with the object as it is then, or was last, and as it was before.
type change struct {
	objectKey

	version int
	kind    watch.EventType
	object  runtime.Object
	before  runtime.Object // nil if it is new
}

// backup is a state that can be restored.
type backup struct {
	version int
	objects map[objectKey]runtime.Object
}

func newStorage() *storage {
	return &storage{version: 1, objects: map[objectKey]runtime.Object{}, news: make(chan struct{})}
}

// Add implements clienttesting.ObjectTracker.
func (s *storage) Add(obj runtime.Object) error {
	kinds, _, err := scheme.Scheme.ObjectKinds(obj)
	if err != nil {
		return err
	}
	meta, err := apimeta.Accessor(obj)
	if err != nil {
		return err
	}
	resource, _ := apimeta.UnsafeGuessKindToResource(kinds[0])
	return s.Create(resource, obj, meta.GetNamespace())
}

// Get implements clienttesting.ObjectTracker.
func (s *storage) Get(resource schema.GroupVersionResource, namespace, name string, _ ...metav1.GetOptions) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.objects[objectKey{resource, namespace, name}]
	if found == nil {
		return nil, apierrors.NewNotFound(resource.GroupResource(), name)
	}
	return found.DeepCopyObject(), nil
}

// Create implements clienttesting.ObjectTracker.
func (s *storage) Create(resource schema.GroupVersionResource, obj runtime.Object, namespace string, _ ...metav1.CreateOptions) error {
	return s.write(resource, obj, namespace, watch.Added)
}

// Update implements clienttesting.ObjectTracker.
func (s *storage) Update(resource schema.GroupVersionResource, obj runtime.Object, namespace string, _ ...metav1.UpdateOptions) error {
	return s.write(resource, obj, namespace, watch.Modified)
}

// Patch implements clienttesting.ObjectTracker; obj is the patched object.
func (s *storage) Patch(resource schema.GroupVersionResource, obj runtime.Object, namespace string, _ ...metav1.PatchOptions) error {
	return s.write(resource, obj, namespace, watch.Modified)
}

// Apply implements clienttesting.ObjectTracker: akd does not use it.
func (s *storage) Apply(resource schema.GroupVersionResource, _ runtime.Object, _ string, _ ...metav1.PatchOptions) error {
	return apierrors.NewMethodNotSupported(resource.GroupResource(), "apply")
}

// write stores an object and sets its version.
func (s *storage) write(resource schema.GroupVersionResource, obj runtime.Object, namespace string, kind watch.EventType) error {
	meta, err := apimeta.Accessor(obj)
	if err != nil {
		return err
	}
	if kind == watch.Modified && isReleased(obj, meta) {
		if volume, is := obj.(*corev1.PersistentVolume); is && s.volumed != nil {
			s.volumed(volume.DeepCopy())
		}
		return s.Delete(resource, namespace, meta.GetName())
	}
	return s.put(objectKey{resource, namespace, meta.GetName()}, obj, meta, kind)
}

// put stores an object, whatever its state is, and tells who sees pods change.
func (s *storage) put(key objectKey, obj runtime.Object, meta metav1.Object, kind watch.EventType) error {
	if err := s.set(key, obj, meta, kind); err != nil {
		return err
	}
	switch obj := obj.(type) {
	case *corev1.Pod:
		if s.changed != nil {
			s.changed(obj.DeepCopy())
		}
	case *corev1.PersistentVolumeClaim:
		if s.claimed != nil {
			s.claimed(obj.DeepCopy())
		}
	case *corev1.PersistentVolume:
		if s.volumed != nil {
			s.volumed(obj.DeepCopy())
		}
	}
	return nil
}

// isReleased reports whether nothing keeps a deleted pod, claim or volume any more. An API
// server does not write such a state: the watches report the one before it.
func isReleased(obj runtime.Object, meta metav1.Object) bool {
	switch obj.(type) {
	case *corev1.Pod, *corev1.PersistentVolumeClaim, *corev1.PersistentVolume:
		return meta.GetDeletionTimestamp() != nil && ptr.Deref(meta.GetDeletionGracePeriodSeconds(), 0) == 0 && len(meta.GetFinalizers()) == 0
	}
	return false
}

// mark writes that a pod is being deleted, also if it will not be there any more then.
func (s *storage) mark(pod *corev1.Pod) error {
	return s.put(objectKey{resourceOf("pods"), pod.Namespace, pod.Name}, pod, pod, watch.Modified)
}

func (s *storage) set(key objectKey, obj runtime.Object, meta metav1.Object, kind watch.EventType) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, exists := s.objects[key]
	switch {
	case kind == watch.Added && exists:
		return apierrors.NewAlreadyExists(key.resource.GroupResource(), key.name)
	case kind == watch.Modified && !exists:
		return apierrors.NewNotFound(key.resource.GroupResource(), key.name)
	}
	if exists {
		keep(s.objects[key], meta)
		if apiequality.Semantic.DeepEqual(s.objects[key], obj) {
			return nil // no write, as in an API server
		}
	}
	s.version++
	meta.SetResourceVersion(strconv.Itoa(s.version))
	before := s.objects[key]
	s.objects[key] = obj.DeepCopyObject()
	s.record(change{objectKey: key, kind: kind, object: s.objects[key], before: before})
	return nil
}

// keep lets a new state of an object have what an API server sets, and no client.
func keep(last runtime.Object, meta metav1.Object) {
	kept, err := apimeta.Accessor(last)
	if err != nil {
		panic(err)
	}
	meta.SetUID(kept.GetUID())
	meta.SetCreationTimestamp(kept.GetCreationTimestamp())
	meta.SetResourceVersion(kept.GetResourceVersion())
}

// Delete implements clienttesting.ObjectTracker.
func (s *storage) Delete(resource schema.GroupVersionResource, namespace, name string, _ ...metav1.DeleteOptions) error {
	key := objectKey{resource, namespace, name}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.objects[key]
	if last == nil {
		return apierrors.NewNotFound(resource.GroupResource(), name)
	}
	delete(s.objects, key)
	s.version++
	last = last.DeepCopyObject()
	if meta, err := apimeta.Accessor(last); err == nil {
		meta.SetResourceVersion(strconv.Itoa(s.version))
	}
	s.record(change{objectKey: key, kind: watch.Deleted, object: last, before: last})
	return nil
}

// record tells the watches of a change that has the current version.
func (s *storage) record(event change) {
	event.version = s.version
	s.events = append(s.events, event)
	if s.noticed != nil {
		s.noticed(event.object)
	}
	s.wake()
}

// wakeAll makes all watches look again.
func (s *storage) wakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake()
}

// wake makes all watches look again.
func (s *storage) wake() {
	close(s.news)
	s.news = make(chan struct{})
}

// List implements clienttesting.ObjectTracker. Without a version in its options, the list
// is consistent; with one, it comes from the watch cache.
func (s *storage) List(
	resource schema.GroupVersionResource, kind schema.GroupVersionKind, namespace string, options ...metav1.ListOptions,
) (runtime.Object, error) {
	list, err := scheme.Scheme.New(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	version := s.version
	if len(options) > 0 && options[0].ResourceVersion != "" {
		version = s.visible()
		if wanted, err := strconv.Atoi(options[0].ResourceVersion); err != nil || wanted > version {
			return nil, tooLarge(options[0].ResourceVersion, version)
		}
	}
	var found []runtime.Object
	node := ""
	if len(options) > 0 {
		node = nodeIn(options[0])
	}
	for _, object := range s.at(version, resource, namespace) {
		if isOn(object, node) {
			found = append(found, object.DeepCopyObject())
		}
	}
	if err := apimeta.SetList(list, found); err != nil {
		return nil, err
	}
	accessor, err := apimeta.ListAccessor(list)
	if err != nil {
		return nil, err
	}
	accessor.SetResourceVersion(strconv.Itoa(version))
	return list, nil
}

// tooLarge is the answer to a request for a version that the watch cache has not reached
// within some seconds.
func tooLarge(wanted string, current int) error {
	err := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %s, current: %d", wanted, current), 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version",
	}}
	return err
}

// lags reports whether the watch cache lags.
func (s *storage) lags() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lagging
}

// visible is the version that the watch cache has reached.
func (s *storage) visible() int {
	if s.lagging {
		return s.cached
	}
	return s.version
}

// at returns the objects of a resource in a namespace, or in all of them, at a version.
func (s *storage) at(version int, resource schema.GroupVersionResource, namespace string) []runtime.Object {
	objects := s.objects
	if version < s.version {
		objects = map[objectKey]runtime.Object{}
		for _, event := range s.events[:s.after(version)] {
			if event.kind == watch.Deleted {
				delete(objects, event.objectKey)
			} else {
				objects[event.objectKey] = event.object
			}
		}
	}
	var keys []objectKey
	for key := range objects {
		if key.resource == resource && (namespace == metav1.NamespaceAll || key.namespace == namespace) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b objectKey) int {
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.name, b.name))
	})
	found := make([]runtime.Object, len(keys))
	for i, key := range keys {
		found[i] = objects[key]
	}
	return found
}

// after returns the index of the first event after a version.
func (s *storage) after(version int) int {
	return sort.Search(len(s.events), func(i int) bool { return s.events[i].version > version })
}

// Watch implements clienttesting.ObjectTracker: each link watches for itself.
func (s *storage) Watch(resource schema.GroupVersionResource, _ string, _ ...metav1.ListOptions) (watch.Interface, error) {
	return nil, apierrors.NewMethodNotSupported(resource.GroupResource(), "watch")
}

// watch begins a watch. It reports nothing while it is paused.
func (s *storage) watch(
	resource schema.GroupVersionResource, namespace string, wanted metav1.ListOptions, paused func() bool,
) (watch.Interface, error) {
	selector, err := labels.Parse(wanted.LabelSelector)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &watcher{
		resource: resource, namespace: namespace, selector: selector, node: nodeIn(wanted),
		paused: paused, cuts: s.cuts, events: make(chan watch.Event),
	}
	w.ends = time.Now().Add(time.Duration(ptr.Deref(wanted.TimeoutSeconds, 0)) * time.Second)
	switch wanted.ResourceVersion {
	case "", "0":
		w.version = s.visible()
		for _, object := range s.at(w.version, resource, namespace) {
			if !isOn(object, w.node) {
				continue
			}
			w.initial = append(w.initial, watch.Event{Type: watch.Added, Object: object.DeepCopyObject()})
		}
	default:
		if w.version, err = strconv.Atoi(wanted.ResourceVersion); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if w.version < s.compacted {
			return nil, apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", w.version, s.compacted))
		}
	}
	proxy := watch.NewProxyWatcher(w.events)
	go s.feed(w, proxy.StopChan())
	return proxy, nil
}

// watcher is one watch.
type watcher struct {
	resource  schema.GroupVersionResource
	namespace string
	selector  labels.Selector
	node      string // of pods, if it is not empty
	paused    func() bool
	initial   []watch.Event
	version   int       // which it has reached
	ends      time.Time // at its timeout
	cuts      int       // when it began
	events    chan watch.Event
}

// feed reports to a watch what happens, until it is stopped or cut.
func (s *storage) feed(w *watcher, stop <-chan struct{}) {
	defer close(w.events)
	for {
		event, news := s.next(w)
		switch {
		case event != nil:
			select {
			case w.events <- *event:
			case <-stop:
				return
			}
		case news != nil:
			select {
			case <-news:
			case <-stop:
				return
			}
		default:
			return
		}
	}
}

// next returns the next event of a watch; a channel on which to wait for one; or neither,
// if the watch has been cut.
func (s *storage) next(w *watcher) (*watch.Event, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.cuts != s.cuts || w.ends.Before(s.timedOut) {
		return nil, nil
	}
	if w.paused() {
		return nil, s.news
	}
	if len(w.initial) > 0 {
		event := w.initial[0]
		w.initial = w.initial[1:]
		return &event, nil
	}
	if s.silent {
		return nil, s.news
	}
	for _, event := range s.events[s.after(w.version):] {
		if event.version > s.visible() {
			break
		}
		w.version = event.version
		if event.resource != w.resource || w.namespace != metav1.NamespaceAll && event.namespace != w.namespace {
			continue
		}
		if kind := w.kindOf(event); kind != "" {
			return &watch.Event{Type: kind, Object: event.object.DeepCopyObject()}, nil
		}
	}
	return nil, s.news
}

// kindOf returns what an event is for those who select by labels: an object that is not
// selected any more is deleted for them. It is empty if they do not see it.
func (w *watcher) kindOf(event change) watch.EventType {
	before, now := w.selects(event.before), event.kind != watch.Deleted && w.selects(event.object)
	switch {
	case before && now:
		return watch.Modified
	case before:
		return watch.Deleted
	case now:
		return watch.Added
	}
	return ""
}

func (w *watcher) selects(object runtime.Object) bool {
	if object == nil {
		return false
	}
	meta, err := apimeta.Accessor(object)
	return err == nil && w.selector.Matches(labels.Set(meta.GetLabels())) && isOn(object, w.node)
}

// nodeIn returns the node whose pods are selected, or an empty string. It is the only field
// by which the fake servers select: for all others, those who ask must look themselves.
func nodeIn(options metav1.ListOptions) string {
	selector, err := fields.ParseSelector(options.FieldSelector)
	if err != nil {
		return ""
	}
	node, _ := selector.RequiresExactMatch("spec.nodeName")
	return node
}

// isOn reports whether an object is on a node, if it is a pod and one is given.
func isOn(object runtime.Object, node string) bool {
	pod, is := object.(*corev1.Pod)
	return !is || node == "" || pod.Spec.NodeName == node
}

// in returns the objects of a resource in a namespace, or in all of them. They are
// read-only.
func (s *storage) in(namespace string, resource schema.GroupVersionResource) []runtime.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(s.version, resource, namespace)
}

// removeAll removes the objects of a resource from a namespace.
func (s *storage) removeAll(resource schema.GroupVersionResource, namespace string) {
	for _, object := range s.in(namespace, resource) {
		if meta, err := apimeta.Accessor(object); err == nil {
			_ = s.Delete(resource, namespace, meta.GetName())
		}
	}
}

// speak lets watches report what happens, or not yet.
func (s *storage) speak(speak bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent == speak {
		s.silent = !speak
		s.wake()
	}
}

// longestLag ends the lag of a watch cache: one that has lost its etcd for longer does not
// serve any more.
const longestLag = 10 * time.Minute

// lag stops the watch cache where it is, or sets it back by a number of versions, as if
// another API server answered from now on.
func (s *storage) lag(behind int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cached := max(s.version-behind, s.compacted); !s.lagging || cached < s.cached {
		s.lagging, s.cached = true, cached
	}
	s.lagsBegun++
	lag := s.lagsBegun
	time.AfterFunc(longestLag, func() { s.endLag(lag) })
}

// endLag ends a lag, unless another one has begun since.
func (s *storage) endLag(lag int) {
	s.mu.Lock()
	last := s.lagsBegun == lag
	s.mu.Unlock()
	if last {
		s.catchUp()
	}
}

// catchUp ends the lag.
func (s *storage) catchUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lagging = false
	s.wake()
}

// timeOut ends the watches that are older than they wanted to be. They live on until then,
// because days of watches that nobody cuts would cost too much.
func (s *storage) timeOut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timedOut = time.Now()
	s.wake()
}

// cut ends all watches, as a proxy or a restarted API server does.
func (s *storage) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts++
	s.wake()
}

// compact cuts all watches and forgets all events: those that follow must list again.
func (s *storage) compact() {
	s.cut()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compacted = s.version
}

// noticing is for how long nobody makes a backup of a cluster that was restored: until those
// who watch it have noticed that, it must not pass the versions that they know.
const noticing = time.Hour

// save makes a backup, of a time that all watch caches have long passed when it is
// restored.
func (s *storage) save() {
	s.catchUp()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.restored.IsZero() && time.Since(s.restored) < noticing {
		return
	}
	s.backup = &backup{version: s.version, objects: maps.Clone(s.objects)}
	s.version += 1000 // others write, too, and so much that a restored cluster does not make up for it at once
}

// restore goes back to the backup, if there is one, and then ends all watches.
func (s *storage) restore() {
	s.mu.Lock()
	if s.backup != nil {
		s.restored = time.Now()
		s.version, s.objects = s.backup.version, maps.Clone(s.backup.objects)
		s.events = s.events[:s.after(s.version)]
		s.cached, s.compacted = min(s.cached, s.version), min(s.compacted, s.version)
	}
	s.mu.Unlock()
	s.cut()
	if s.noticed != nil {
		s.noticed(nil)
	}
}
