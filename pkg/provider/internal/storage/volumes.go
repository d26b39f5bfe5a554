package storage

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/internal/volume"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// Volumes provides local claims with volumes. If it is not enabled, it reads nothing.
type Volumes struct {
	Config

	claims  *store.Store[*corev1.PersistentVolumeClaim] // local
	volumes *store.Store[*corev1.PersistentVolume]      // local, of this node
	classes *store.Store[*storagev1.StorageClass]       // local
	remote  *remoteClasses

	claimsBy  *store.Index[*corev1.PersistentVolumeClaim, reference]
	volumesBy *store.Index[*corev1.PersistentVolume, reference]
	podsBy    *store.Index[*corev1.Pod, reference]

	mu   sync.Mutex
	told map[types.UID]told // by local claim, the last event about it
	// waiting is since when a pod has waited for a claim that is not bound.
	waiting map[types.UID]time.Time
}

// quietWait is how long a pod waits for a claim before its owner is told. The local scheduler
// binds pods whose claims are bound; akd learns of both within milliseconds.
const quietWait = time.Second

// Config configures a Volumes.
type Config struct {
	Enabled bool
	Mapper  *translate.Mapper
	// RemoteClusterUID identifies the remote cluster.
	RemoteClusterUID types.UID
	Local            *cluster.Local
	Remote           *cluster.Remote
	Opener           *namespaces.Opener
	Pods             *store.Store[*corev1.Pod] // local
	Queue            queue.Adder
	Recorder         record.EventRecorder
	Clock            clock.PassiveClock
}

// told is an event that is not repeated.
type told struct{ reason, message string }

// New returns a Volumes that provides volumes if config enables it.
func New(config Config) *Volumes {
	v := &Volumes{
		Config:  config,
		remote:  newRemoteClasses(config.Remote, config.Clock),
		told:    map[types.UID]told{},
		waiting: map[types.UID]time.Time{},
	}
	v.claims = store.New(store.Handlers[*corev1.PersistentVolumeClaim]{Changed: v.claimChanged, Trim: translate.TrimClaim})
	v.volumes = store.New(store.Handlers[*corev1.PersistentVolume]{Changed: v.volumeChanged})
	v.classes = store.New(store.Handlers[*storagev1.StorageClass]{Changed: v.classChanged})
	v.claimsBy = store.NewIndex(v.claims, referencesOf)
	v.volumesBy = store.NewIndex(v.volumes, placesOf)
	v.podsBy = store.NewIndex(v.Pods, claimsUsedBy)
	return v
}

// Run reads the local claims, volumes and classes until ctx ends, if it is enabled.
func (v *Volumes) Run(ctx context.Context) {
	if !v.Enabled {
		return
	}
	var watches sync.WaitGroup
	defer watches.Wait()
	watches.Go(func() { v.claims.Run(ctx, v.Local.Claims()) })
	watches.Go(func() { v.volumes.Run(ctx, v.Local.Volumes()) })
	watches.Go(func() { v.classes.Run(ctx, v.Local.StorageClasses()) })
}

// HasSynced reports whether everything local has been read.
func (v *Volumes) HasSynced() bool {
	return !v.Enabled || v.claims.HasSynced() && v.volumes.HasSynced() && v.classes.HasSynced()
}

// Uses reports whether the remote namespace of a local one has, or may get, a claim.
func (v *Volumes) Uses(namespace *namespaces.Namespace) bool {
	if !v.Enabled {
		return false
	}
	if namespace.Claims.Len() > 0 || namespace.Claims.Refusal() != nil {
		return true
	}
	for _, claim := range v.claims.In(namespace.Local) {
		if claim.Spec.VolumeName == "" && v.isOurs(claim) {
			return true
		}
	}
	return false
}

// isOurs reports whether the class of a claim has volumes of AK.
func (v *Volumes) isOurs(claim *corev1.PersistentVolumeClaim) bool {
	class := v.classOf(claim)
	return class != nil && class.Provisioner == contract.StorageDriver
}

func (v *Volumes) classOf(claim *corev1.PersistentVolumeClaim) *storagev1.StorageClass {
	if claim == nil || claim.Spec.StorageClassName == nil {
		return nil
	}
	return v.classes.Get("", *claim.Spec.StorageClassName)
}

// claimChanged queues the volumes that a claim names or will have, if they can be of this
// node, and the pods that use it.
func (v *Volumes) claimChanged(c store.Change[*corev1.PersistentVolumeClaim]) {
	for _, claim := range []*corev1.PersistentVolumeClaim{c.Old, c.New} {
		if claim == nil {
			continue
		}
		if v.concerns(claim) {
			v.Queue.Add(keyOf(claim))
		}
		if name := claim.Spec.VolumeName; name != contract.VolumeName(claim.UID) && v.volumes.Get("", name) != nil {
			v.queue(claim.Namespace, name)
		}
	}
	v.queuePods(c.Object().Namespace, c.Object().Name)
	v.queueClones(c.Object())
}

// concerns reports whether a volume that is named after a claim is there, or may have to be
// made: most claims of a cluster can be of other storage. What is not known yet, such as a
// class, queues the claim when it comes.
func (v *Volumes) concerns(claim *corev1.PersistentVolumeClaim) bool {
	name := contract.VolumeName(claim.UID)
	if v.isOurs(claim) || v.volumes.Get("", name) != nil {
		return true
	}
	opened := v.Opener.Get(claim.Namespace)
	return opened != nil && opened.Claims.Get(opened.Name, name) != nil
}

// queueClones queues the claims that begin with the data of a claim.
func (v *Volumes) queueClones(source *corev1.PersistentVolumeClaim) {
	for _, claim := range v.claimsBy.Get(reference{cloneOf, source.Namespace, source.Name}) {
		v.Queue.Add(keyOf(claim))
	}
}

func (v *Volumes) volumeChanged(c store.Change[*corev1.PersistentVolume]) {
	for _, one := range []*corev1.PersistentVolume{c.Old, c.New} {
		if one == nil {
			continue
		}
		if local := v.namespaceOf(one); local != "" {
			v.queue(local, one.Name)
		}
	}
	if ref := c.Object().Spec.ClaimRef; ref != nil {
		v.queuePods(ref.Namespace, ref.Name)
	}
}

// namespaceOf returns the local namespace of a volume: that of its claim or, if it has none,
// the one that its remote namespace serves.
func (v *Volumes) namespaceOf(one *corev1.PersistentVolume) string {
	if ref := one.Spec.ClaimRef; ref != nil && ref.Namespace != "" {
		return ref.Namespace
	}
	_, source, _ := volume.Of(one)
	for _, namespace := range v.Opener.Namespaces.All() {
		if namespace.Name == source.Namespace {
			return namespace.Local
		}
	}
	return ""
}

// classChanged queues the claims that wait for a volume of a class.
func (v *Volumes) classChanged(c store.Change[*storagev1.StorageClass]) {
	for _, claim := range v.claimsBy.Get(reference{ofClass, "", c.Object().Name}) {
		v.Queue.Add(keyOf(claim))
	}
}

func (v *Volumes) queue(local, name string) { v.Queue.Add(queue.Volume.Key(local, name)) }

// queuePods queues the pods that use a local claim.
func (v *Volumes) queuePods(namespace, claim string) {
	for _, pod := range v.podsBy.Get(reference{usesClaim, namespace, claim}) {
		v.Queue.Add(queue.Pod.Key(pod.Namespace, pod.Name))
	}
}

// Keys returns the keys to reconcile once a namespace can be used. opened may be nil.
func (v *Volumes) Keys(local string, opened *namespaces.Namespace) []queue.Key {
	if !v.Enabled {
		return nil
	}
	have := v.volumesBy.Get(reference{inLocal, local, ""})
	var remote []*namespaces.Namespace
	if opened != nil {
		have = append(have, v.volumesBy.Get(reference{inRemote, opened.Name, ""})...)
		remote = append(remote, opened)
	}
	return v.keysOf(v.claims.In(local), have, remote)
}

// keysOf returns the keys of the volumes that some local claims will have, that are there, or
// that have a claim in some remote namespaces.
func (v *Volumes) keysOf(
	claims []*corev1.PersistentVolumeClaim, have []*corev1.PersistentVolume, remote []*namespaces.Namespace,
) []queue.Key {
	keys := map[queue.Key]bool{}
	for _, claim := range claims {
		if v.isOurs(claim) {
			keys[keyOf(claim)] = true
		}
	}
	for _, one := range have {
		if local := v.namespaceOf(one); local != "" {
			keys[queue.Volume.Key(local, one.Name)] = true
		}
	}
	for _, namespace := range remote {
		for _, claim := range namespace.Claims.All() {
			keys[queue.Volume.Key(namespace.Local, claim.Name)] = true
		}
	}
	return slices.Collect(maps.Keys(keys))
}

// keyOf returns the key of the volume that a local claim will have.
func keyOf(claim *corev1.PersistentVolumeClaim) queue.Key {
	return queue.Volume.Key(claim.Namespace, contract.VolumeName(claim.UID))
}

// Mount returns the remote claims of a pod by its volumes. The error is a *translate.Refusal
// if the pod cannot have one of them, or has waited for it, and queue.ErrWaits while it has
// only begun to wait.
func (v *Volumes) Mount(ctx context.Context, pod *corev1.Pod, namespace *namespaces.Namespace) (map[string]translate.MountedClaim, error) {
	names := translate.ClaimNames(pod)
	if len(names) == 0 {
		return nil, nil
	}
	mounted, err := v.mount(ctx, pod, namespace, names)
	if refusal, refused := errors.AsType[*translate.Refusal](err); refused && refusal.Reason == translate.ReasonClaimNotBound {
		if left := v.waits(pod.UID); left > 0 {
			v.Queue.AddAfter(queue.Pod.Key(pod.Namespace, pod.Name), left)
			return nil, queue.ErrWaits
		}
	}
	return mounted, err
}

// waits returns how long a pod is still to wait for a claim before its owner is told.
func (v *Volumes) waits(pod types.UID) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.waiting[pod].IsZero() {
		v.waiting[pod] = v.Clock.Now()
	}
	return quietWait - v.Clock.Since(v.waiting[pod])
}

// Forget drops what is remembered of a local pod that is gone or created.
func (v *Volumes) Forget(pod types.UID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.waiting, pod)
}

func (v *Volumes) mount(
	ctx context.Context, pod *corev1.Pod, namespace *namespaces.Namespace, names map[string]string,
) (map[string]translate.MountedClaim, error) {
	mounted := make(map[string]translate.MountedClaim, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		claim := names[name]
		found, err := v.find(ctx, v.claims.Get(pod.Namespace, claim), namespace)
		if err != nil {
			return nil, err
		}
		if mounted[name], err = namespace.Site.MountClaim(pod, name, claim, found); err != nil {
			return nil, err
		}
	}
	return mounted, nil
}

// find returns what a claim leads to. A volume that is not one of this node is read from the
// API server, for the words of the refusal.
func (v *Volumes) find(
	ctx context.Context, claim *corev1.PersistentVolumeClaim, namespace *namespaces.Namespace,
) (translate.VolumeOf, error) {
	found := translate.VolumeOf{Claim: claim}
	if claim == nil || claim.Spec.VolumeName == "" {
		return found, nil
	}
	if refusal := namespace.Claims.Refusal(); refusal != nil {
		return found, refusal
	}
	found.Volume = v.volumes.Get("", claim.Spec.VolumeName)
	if found.Volume == nil {
		var err error
		if found.Volume, err = unlessMissing(v.Local.GetVolume(ctx, claim.Spec.VolumeName)); err != nil {
			return found, err
		}
	}
	found.Remote = namespace.Claims.Get(namespace.Name, claim.Spec.VolumeName)
	return found, nil
}

// LocalClaim returns the local claim of the remote one that is referred to, or nil.
func (v *Volumes) LocalClaim(namespace *namespaces.Namespace, remote corev1.ObjectReference) *corev1.PersistentVolumeClaim {
	have := namespace.Claims.Get(namespace.Name, remote.Name)
	if have == nil || have.UID != remote.UID {
		return nil
	}
	for _, claim := range v.claimsBy.Get(reference{ofVolume, namespace.Local, remote.Name}) {
		return claim
	}
	return v.claimWith(namespace.Local, contract.ClaimUID(remote.Name))
}
