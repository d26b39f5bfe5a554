package namespaces

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// Namespace serves one local namespace and caches the content of its remote
// one.
type Namespace struct {
	// Local and Name are the names of the two namespaces; UID is that of the
	// remote one.
	Local string
	Name  string
	UID   types.UID
	// Site makes the objects of the remote namespace.
	Site translate.Site

	Pods       *store.Store[*corev1.Pod]
	ConfigMaps *store.Store[*corev1.ConfigMap]
	Secrets    *store.Store[*corev1.Secret]
	// Services and EndpointSlices are empty if none are mirrored.
	Services       *store.Store[*corev1.Service]
	EndpointSlices *store.Store[*discoveryv1.EndpointSlice]
	// Budgets is empty if none are mirrored.
	Budgets *store.Store[*policyv1.PodDisruptionBudget]
	// Claims are the PersistentVolumeClaims that akd created. It is empty without storage.
	Claims *store.Store[*corev1.PersistentVolumeClaim]

	unread    atomic.Int32 // selections that have not been read yet
	end       func()       // ends its watches
	unusedFor time.Time    // start of the time without pods; guarded by namespaces.mu
	checked   time.Time    // last check of why akd was forbidden; guarded by namespaces.mu
}

// Pod returns the remote pod with that local name, or nil.
func (n *Namespace) Pod(name string) *corev1.Pod { return n.Pods.Get(n.Name, name) }

// read reports whether the content of the namespace has been read.
func (n *Namespace) read() bool { return n.unread.Load() == 0 }

// refused reports whether akd may not read some of its content.
func (n *Namespace) refused() bool {
	refusals := []error{
		n.Pods.Refusal(), n.ConfigMaps.Refusal(), n.Secrets.Refusal(), n.Services.Refusal(), n.EndpointSlices.Refusal(),
		n.Budgets.Refusal(), n.Claims.Refusal(),
	}
	return errors.Join(refusals...) != nil
}

// newRemoteNamespace returns a namespace whose content has not been read. Each
// change in it queues a key; all of its keys are queued once it has been read.
func (o *Opener) newRemoteNamespace(namespace *corev1.Namespace, local string) *Namespace {
	n := &Namespace{Local: local, Name: namespace.Name, UID: namespace.UID, Site: o.Mapper.In(namespace.Name).WithUID(namespace.UID)}
	n.Pods = store.New(store.Handlers[*corev1.Pod]{
		Changed: func(c store.Change[*corev1.Pod]) { o.Queue.Add(queue.Pod.Key(local, c.Object().Name)) },
		Ready:   o.whenRead(n),
		Trim:    func(pod *corev1.Pod) { translate.TrimRemote(pod); o.Interner.Share(pod) },
		Last:    o.Ended,
	})
	n.ConfigMaps = store.New(store.Handlers[*corev1.ConfigMap]{
		Changed: func(c store.Change[*corev1.ConfigMap]) {
			o.Queue.Add(queue.ConfigMap.Key(local, contract.LocalName(c.Object().Name)))
		},
		Ready: o.whenRead(n),
		Trim:  translate.TrimConfigMap,
	})
	n.Secrets = store.New(store.Handlers[*corev1.Secret]{
		Changed: func(c store.Change[*corev1.Secret]) {
			o.Queue.Add(queue.Secret.Key(local, contract.LocalName(c.Object().Name)))
		},
		Ready: o.whenRead(n),
		Trim:  func(secret *corev1.Secret) { translate.TrimSecret(secret); o.Interner.Share(secret) },
	})
	n.Services = store.New(store.Handlers[*corev1.Service]{
		Changed: func(c store.Change[*corev1.Service]) { o.Queue.Add(queue.Service.Key(local, c.Object().Name)) },
		Ready:   o.whenRead(n),
	})
	n.EndpointSlices = store.New(store.Handlers[*discoveryv1.EndpointSlice]{
		Changed: func(c store.Change[*discoveryv1.EndpointSlice]) {
			o.Queue.Add(queue.EndpointSlice.Key(local, c.Object().Name))
		},
		Ready: o.whenRead(n),
	})
	n.Budgets = store.New(store.Handlers[*policyv1.PodDisruptionBudget]{
		Changed: func(c store.Change[*policyv1.PodDisruptionBudget]) {
			o.Queue.Add(queue.DisruptionBudget.Key(local, c.Object().Name))
		},
		Ready: o.whenRead(n),
		Trim:  translate.TrimBudget,
	})
	n.Claims = store.New(store.Handlers[*corev1.PersistentVolumeClaim]{
		Changed: func(c store.Change[*corev1.PersistentVolumeClaim]) {
			o.Queue.Add(queue.Volume.Key(local, c.Object().Name))
		},
		Ready: o.whenRead(n),
		Trim:  translate.TrimClaim,
	})
	return n
}

// selections returns the watches of a namespace, except that of events.
func (o *Opener) selections(n *Namespace) []func(context.Context) {
	watched := []func(context.Context){
		func(ctx context.Context) { n.Pods.Run(ctx, o.Remote.Pods(n.Name)) },
		func(ctx context.Context) { n.ConfigMaps.Run(ctx, o.Remote.ConfigMaps(n.Name)) },
		func(ctx context.Context) { n.Secrets.Run(ctx, o.Remote.Secrets(n.Name)) },
	}
	if o.MirrorServices {
		watched = append(watched,
			func(ctx context.Context) { n.Services.Run(ctx, o.Remote.Services(n.Name)) },
			func(ctx context.Context) { n.EndpointSlices.Run(ctx, o.Remote.EndpointSlices(n.Name)) })
	}
	if o.MirrorBudgets {
		watched = append(watched, func(ctx context.Context) { n.Budgets.Run(ctx, o.Remote.DisruptionBudgets(n.Name)) })
	}
	if o.Storage {
		watched = append(watched, func(ctx context.Context) { n.Claims.Run(ctx, o.Remote.Claims(n.Name)) })
	}
	return watched
}
