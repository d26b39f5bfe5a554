package podsync

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// ledger returns an admission and the store of the pods that it watches.
func ledger(pods string, read func(context.Context) (*corev1.Node, error)) (*admission, *store.Store[*corev1.Pod]) {
	var a *admission
	bound := store.New(store.Handlers[*corev1.Pod]{Changed: func(c store.Change[*corev1.Pod]) { a.podChanged(c) }})
	a = newAdmission(bound, read, func() []corev1.ResourceList { return nil })
	a.nodeChanged(nodeOf(pods))
	return a, bound
}

func nodeOf(pods string) *corev1.Node {
	return &corev1.Node{Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{corev1.ResourcePods: apiresource.MustParse(pods)}}}
}

func boundPod(n int, version string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: fmt.Sprint("pod-", n), UID: types.UID(fmt.Sprint("uid-", n)), ResourceVersion: version,
	}}
}

// Resources are counted once, released when a pod ends or is deleted, and kept
// for pods that an earlier akd has admitted.
func TestAdmissionLedger(t *testing.T) {
	a, bound := ledger("2", func(context.Context) (*corev1.Node, error) { return nodeOf("2"), nil })
	admit := func(pod *corev1.Pod) string {
		t.Helper()
		refusal, err := a.admit(t.Context(), pod)
		if err != nil {
			t.Fatal(err)
		}
		return refusal.Reason
	}
	update := func(pod *corev1.Pod) *corev1.Pod {
		t.Helper()
		if err := bound.Update(pod); err != nil {
			t.Fatal(err)
		}
		return pod
	}
	started := boundPod(1, "1")
	started.Status.StartTime = new(metav1.Now())
	update(started)
	second, third := update(boundPod(2, "2")), update(boundPod(3, "3"))
	for range 2 {
		if got := admit(second); got != "" {
			t.Errorf("one of two places is free: %s", got)
		}
	}
	if got := admit(third); got != "OutOfpods" {
		t.Errorf("a third pod on a node for two: %q", got)
	}
	ended := boundPod(1, "4")
	ended.Status = corev1.PodStatus{Phase: corev1.PodSucceeded, StartTime: started.Status.StartTime}
	update(ended)
	if got := admit(third); got != "" {
		t.Errorf("the first has ended: %s", got)
	}
	if err := bound.Delete(boundPod(2, "5")); err != nil {
		t.Fatal(err)
	}
	if got := admit(second); got != "" || len(a.pods) != 1 {
		t.Errorf("a pod that has gone meanwhile: %q, %d pods have room", got, len(a.pods))
	}
	a.podChanged(store.Change[*corev1.Pod]{Old: started, New: started}) // a late change
	if got, want := a.used[corev1.ResourcePods], int64(1); got != want || len(a.pods) != 1 {
		t.Errorf("%d pods are counted, and %d known, want 1", got, len(a.pods))
	}
}

// A cached node may be stale, and an API server that does not respond proves
// nothing: no pod is rejected because of either.
func TestAdmissionReadsNode(t *testing.T) {
	down := errors.New("down")
	var fail atomic.Bool
	fail.Store(true)
	a, bound := ledger("0", func(context.Context) (*corev1.Node, error) {
		if fail.Load() {
			return nil, down
		}
		return nodeOf("1"), nil
	})
	pod := boundPod(1, "1")
	if err := bound.Update(pod); err != nil {
		t.Fatal(err)
	}
	if refusal, err := a.admit(t.Context(), pod); !errors.Is(err, down) || refusal.Reason != "" {
		t.Errorf("the node cannot be read: %v, %v", refusal, err)
	}
	fail.Store(false)
	if refusal, err := a.admit(t.Context(), pod); err != nil || refusal.Reason != "" {
		t.Errorf("the node has grown: %v, %v", refusal, err)
	}
}

// Concurrent workers do not share the last place.
func TestAdmissionIsSerial(t *testing.T) {
	const places, pods = 10, 50
	a, bound := ledger(fmt.Sprint(places), func(context.Context) (*corev1.Node, error) { return nodeOf(fmt.Sprint(places)), nil })
	var admitted atomic.Int32
	var workers sync.WaitGroup
	for n := range pods {
		pod := boundPod(n, fmt.Sprint(n+1))
		if err := bound.Update(pod); err != nil {
			t.Fatal(err)
		}
		workers.Go(func() {
			if refusal, err := a.admit(t.Context(), pod); err == nil && refusal.Reason == "" {
				admitted.Add(1)
			}
		})
	}
	workers.Wait()
	if got := admitted.Load(); got != places {
		t.Errorf("%d pods have %d places", got, places)
	}
}

// An extended resource that an administrator has written into the local Node is
// on no remote machine; one that akd has written is.
func TestLocalResources(t *testing.T) {
	const owned = `{"f:status":{"f:capacity":{"f:example.com/gpu":{}}}}`
	node := nodeOf("10")
	node.Status.Capacity = corev1.ResourceList{
		"example.com/gpu": apiresource.MustParse("1"), "example.com/license": apiresource.MustParse("5"),
	}
	node.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: contract.UserAgent, FieldsV1: metav1.NewFieldsV1(owned)},
		{Manager: "kubectl", FieldsV1: metav1.NewFieldsV1(`{"f:status":{"f:capacity":{"f:example.com/license":{}}}}`)},
	}
	a, _ := ledger("10", func(context.Context) (*corev1.Node, error) { return node, nil })
	pod := boundPod(1, "1")
	one := apiresource.MustParse("1")
	pod.Spec.Containers = []corev1.Container{{Name: "main", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU: one, "example.com/gpu": one, "example.com/license": one, "example.com/unheard-of": one,
	}}}}
	got, err := a.localResources(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]corev1.ResourceName{"example.com/license"}, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	mapper := &translate.Mapper{Owner: contract.Owner{Node: "vk", ClusterUID: "local"}}
	remote, err := mapper.In("vk-x").Pod(pod, translate.PodContext{LocalResources: got})
	if err != nil {
		t.Fatal(err)
	}
	if requests := remote.Spec.Containers[0].Resources.Requests; len(requests) != 3 || len(pod.Spec.Containers[0].Resources.Requests) != 4 {
		t.Errorf("the remote pod asks for %v", requests)
	}
}

// A pod costs as much on a node with 10,000 others as on an empty one.
func BenchmarkAdmission(b *testing.B) {
	for _, others := range []int{0, 10_000} {
		b.Run(fmt.Sprint(others), func(b *testing.B) {
			a, bound := ledger("100000", nil)
			for n := range others {
				pod := boundPod(n, fmt.Sprint(n+1))
				pod.Status.StartTime = new(metav1.Now())
				if err := bound.Update(pod); err != nil {
					b.Fatal(err)
				}
			}
			pod := boundPod(others, fmt.Sprint(others+1))
			pod.Spec.Containers = []corev1.Container{{Name: "main", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
				corev1.ResourceCPU: apiresource.MustParse("100m"), corev1.ResourceMemory: apiresource.MustParse("64Mi"),
			}}}}
			if err := bound.Update(pod); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if refusal := a.try(pod); refusal != (translate.Refusal{}) {
					b.Fatal(refusal)
				}
				a.mu.Lock()
				a.removeLocked(pod.UID)
				a.mu.Unlock()
			}
		})
	}
}
