package scenario

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// The UIDs of the remote clusters: the first one, and another one that takes its place.
const (
	firstCluster types.UID = "remote-cluster"
	otherCluster types.UID = "other-cluster"
)

// moveTo lets akd start anew with the other remote cluster, or with the first one again. The
// other one has the same namespaces and claims, as a backup of the first one that was
// restored there: they have other UIDs, and other data.
func (s *scenario) moveTo(name string) {
	to := map[string]types.UID{"first": firstCluster, "other": otherCluster}[name]
	if to == s.next.cluster || !s.hasClasses() {
		return
	}
	s.resume()
	s.akd.end()
	s.remote.arrive()
	if s.away == nil {
		s.away = s.remote.copied()
	}
	s.away = s.remote.storage.exchange(s.away)
	s.remote.controllers.notice(nil)
	s.next.cluster = to
	s.start()
}

// copied returns what another cluster has of this one.
func (c *fakeServer) copied() map[objectKey]runtime.Object {
	copied, all := map[objectKey]runtime.Object{}, c.storage.all()
	for _, key := range sortedKeys(all) {
		object := all[key].DeepCopyObject()
		meta, err := apimeta.Accessor(object)
		if err != nil || meta.GetDeletionTimestamp() != nil || c.isEnding(key.namespace) {
			continue
		}
		switch object := object.(type) {
		case *corev1.Namespace, *rbacv1.RoleBinding, *storagev1.StorageClass:
		case *corev1.ConfigMap:
			if localNamespace(key.namespace) != "" {
				continue // a copy, or the mark of a deletion
			}
		case *corev1.PersistentVolumeClaim:
			object.Spec.VolumeName = ""
			delete(object.Annotations, bindCompleted)
		default:
			continue
		}
		c.stamp(object)
		copied[key] = object
	}
	return copied
}

// all returns all objects, which are read-only.
func (s *storage) all() map[objectKey]runtime.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.objects)
}

// sortedKeys returns the keys of objects in an order that is always the same.
func sortedKeys(objects map[objectKey]runtime.Object) []objectKey {
	return slices.SortedFunc(maps.Keys(objects), func(a, b objectKey) int {
		return cmp.Or(strings.Compare(a.resource.Resource, b.resource.Resource), strings.Compare(a.namespace, b.namespace),
			strings.Compare(a.name, b.name))
	})
}

// exchange replaces all objects, and returns the former ones. Nobody watches.
func (s *storage) exchange(objects map[objectKey]runtime.Object) (former map[objectKey]runtime.Object) {
	s.cut()
	s.mu.Lock()
	former, s.objects = s.objects, map[objectKey]runtime.Object{}
	s.version += 1000
	s.events, s.backup, s.lagging = nil, nil, false
	keys := sortedKeys(objects)
	for _, key := range keys {
		object := objects[key]
		s.version++
		if meta, err := apimeta.Accessor(object); err == nil {
			meta.SetResourceVersion(strconv.Itoa(s.version))
		}
		s.objects[key] = object
		s.events = append(s.events, change{objectKey: key, version: s.version, kind: watch.Added, object: object})
	}
	s.compacted = s.version
	s.mu.Unlock()
	for _, key := range keys {
		if claim, is := objects[key].(*corev1.PersistentVolumeClaim); is && s.claimed != nil {
			s.claimed(claim.DeepCopy())
		}
	}
	return former
}
