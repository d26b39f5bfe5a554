package podsync

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// admission decides which pods the node admits, one at a time, as a kubelet
// does. It caches the requests of admitted pods, so that admission costs the
// same on a full node as on an empty one.
type admission struct {
	bound *store.Store[*corev1.Pod]                   // the node's pods
	read  func(context.Context) (*corev1.Node, error) // from the API server
	sizes func() []corev1.ResourceList                // of the largest remote nodes

	mu   sync.Mutex
	node *corev1.Node // as last observed; nil if never observed
	pods map[types.UID]translate.Amounts
	used translate.Amounts
}

func newAdmission(
	bound *store.Store[*corev1.Pod], read func(context.Context) (*corev1.Node, error), sizes func() []corev1.ResourceList,
) *admission {
	return &admission{bound: bound, read: read, sizes: sizes, pods: map[types.UID]translate.Amounts{}, used: translate.Amounts{}}
}

// podChanged updates the accounts. A pod that has started has been admitted,
// possibly by an earlier akd; a finished pod no longer uses any resources. A
// change may be older than the cached state, which takes precedence.
func (a *admission) podChanged(c store.Change[*corev1.Pod]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	pod := c.Object()
	current := a.bound.Get(pod.Namespace, pod.Name)
	admitted := false
	for _, version := range []*corev1.Pod{c.Old, c.New} {
		if version == nil {
			continue
		}
		_, was := a.pods[version.UID]
		admitted = admitted || was && current != nil && current.UID == version.UID
		a.removeLocked(version.UID)
	}
	if current != nil && !translate.Finished(current) && (admitted || current.Status.StartTime != nil) {
		a.removeLocked(current.UID)
		a.addLocked(current)
	}
}

func (a *admission) addLocked(pod *corev1.Pod) {
	requests := translate.Requests(pod)
	a.pods[pod.UID] = requests
	a.used.Add(requests)
}

func (a *admission) removeLocked(pod types.UID) {
	a.used.Sub(a.pods[pod])
	delete(a.pods, pod)
}

// free frees what a pod uses that has ended, or that akd releases: nothing of it runs, and the
// watch may tell of that later than of its successor.
func (a *admission) free(pod types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.removeLocked(pod)
}

// nodeChanged sets the Node as the local cluster has it, or nil.
func (a *admission) nodeChanged(node *corev1.Node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.node = node
}

// observed returns the Node as it was observed last, or nil. Do not modify it.
func (a *admission) observed() *corev1.Node {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.node
}

// admit returns why the node does not admit the pod, or a zero Refusal.
func (a *admission) admit(ctx context.Context, pod *corev1.Pod) (translate.Refusal, error) {
	if refusal := a.try(pod); refusal.Reason == "" || refusal.Reason == translate.ReasonNodePorts {
		return refusal, nil
	}
	// A lagging watch of the node must not cause a rejection.
	node, err := a.read(ctx)
	if err != nil {
		return translate.Refusal{}, err
	}
	a.nodeChanged(node)
	return a.try(pod), nil
}

// try admits the pod if it fits the node. It reserves nothing for a pod that
// has been deleted meanwhile.
func (a *admission) try(pod *corev1.Pod) translate.Refusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	current := a.bound.Get(pod.Namespace, pod.Name)
	if _, admitted := a.pods[pod.UID]; admitted || current == nil || current.UID != pod.UID || translate.Finished(current) {
		return translate.Refusal{}
	}
	if pod.Status.StartTime == nil {
		if refusal := translate.Admit(pod, a.node, a.used, a.sizes(), a.admittedLocked); refusal.Reason != "" {
			return refusal
		}
	}
	a.addLocked(pod)
	return translate.Refusal{}
}

func (a *admission) admittedLocked() []*corev1.Pod {
	return slices.DeleteFunc(a.bound.All(), func(pod *corev1.Pod) bool {
		_, ok := a.pods[pod.UID]
		return !ok
	})
}

// localResources returns the pod's extended resources that only the local
// cluster advertises. Anyone who may write a Node's status can advertise them,
// and a kubelet leaves them to the scheduler; those that akd itself advertises
// exist on the remote nodes.
// https://kubernetes.io/docs/tasks/administer-cluster/extended-resource-node/
func (a *admission) localResources(ctx context.Context, pod *corev1.Pod) ([]corev1.ResourceName, error) {
	names := translate.ExtendedResources(pod)
	if len(names) == 0 {
		return nil, nil
	}
	node, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	own, err := ownCapacity(node)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(name corev1.ResourceName) bool {
		_, advertised := node.Status.Capacity[name]
		return !advertised || own["f:"+string(name)] != nil
	}), nil
}

// ownCapacity returns the resources that akd has written into the Node,
// according to managedFields.
func ownCapacity(node *corev1.Node) (map[string]any, error) {
	own := map[string]any{}
	for _, entry := range node.ManagedFields {
		if entry.Manager != contract.UserAgent || entry.FieldsV1 == nil {
			continue
		}
		var fields struct {
			Status struct {
				Capacity map[string]any `json:"f:capacity"`
			} `json:"f:status"`
		}
		if err := json.Unmarshal([]byte(entry.FieldsV1.String()), &fields); err != nil {
			return nil, fmt.Errorf("read who wrote the capacity of local node %s: %w", node.Name, err)
		}
		maps.Copy(own, fields.Status.Capacity)
	}
	return own, nil
}
