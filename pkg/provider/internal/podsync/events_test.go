package podsync

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// remoteEvent returns a remote event about the remote pod of the local pod with
// that name.
func remoteEvent(namespace *namespaces.Namespace, pod, name string, count int32) *corev1.Event {
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace.Name, Name: name, CreationTimestamp: metav1.Now()},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: namespace.Name, Name: pod, UID: types.UID("remote-" + pod)},
		Reason:         name, Count: count, LastTimestamp: metav1.Now(),
	}
}

// eventPod returns the local pod with that name.
func eventPod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("local-" + name), ResourceVersion: "1"}}
}

// Events used to be written while the pod's status waited for the same CPUs:
// +13 ms to Running. An event that repeats, as BackOff does, is written once
// per delay, and the last events of a short-lived pod are kept.
func TestEventsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		const node = "ak"
		mapper := &translate.Mapper{Owner: contract.Owner{Node: node, ClusterUID: "local-cluster"}}
		local := store.New(store.Handlers[*corev1.Pod]{})
		namespace := &namespaces.Namespace{
			Local: "ns",
			Name:  contract.RemoteNamespace(node, "ns"),
			Pods:  store.New(store.Handlers[*corev1.Pod]{}),
		}
		for _, name := range []string{"web", "brief"} {
			pod := eventPod(name)
			pod.Annotations = map[string]string{contract.AnnotationRemoteUID: "remote-" + name}
			local.Put(pod)
		}
		client := fake.NewClientset()
		m := newEventMirror(
			mapper, cluster.NewLocal(cluster.Clients{Node: client}, node), cluster.NewRemote(client, contract.Owner{Node: node}), local,
			slog.New(slog.DiscardHandler))
		sink := &eventSink{mirror: m, namespace: namespace}
		done := make(chan struct{})
		go func() { m.run(ctx); close(done) }()

		written := func() map[string]int32 {
			t.Helper()
			synctest.Wait()
			list, err := client.CoreV1().Events("ns").List(ctx, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]int32{}
			for i := range list.Items {
				found[string(list.Items[i].InvolvedObject.UID)+" "+list.Items[i].Reason] = list.Items[i].Count
			}
			return found
		}
		err := errors.Join(
			sink.Add(remoteEvent(namespace, "web", "BackOff", 1)),
			sink.Update(remoteEvent(namespace, "web", "BackOff", 2)),
			sink.Add(remoteEvent(namespace, "brief", "Killing", 1)),
			sink.Add(remoteEvent(namespace, "unknown", "Pulled", 1)),
			sink.Update(remoteEvent(namespace, "web", "BackOff", 3)),
		)
		if err != nil {
			t.Fatal(err)
		}
		local.Drop(eventPod("brief"))
		if diff := cmp.Diff(map[string]int32{}, written()); diff != "" {
			t.Errorf("at once (-want +got):\n%s", diff)
		}
		time.Sleep(eventDelay) // in fake time
		want := map[string]int32{"local-web BackOff": 3, "local-brief Killing": 1}
		if diff := cmp.Diff(want, written()); diff != "" {
			t.Errorf("after the delay (-want +got):\n%s", diff)
		}
		writes := 0
		for _, action := range client.Actions() {
			if action.GetVerb() != "list" {
				writes++
			}
		}
		if writes != 2 {
			t.Errorf("%d writes for two events, want one for each", writes)
		}
		if err := sink.Update(remoteEvent(namespace, "web", "BackOff", 4)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(eventDelay) // in fake time
		want["local-web BackOff"] = 4
		if diff := cmp.Diff(want, written()); diff != "" {
			t.Errorf("when it happens again (-want +got):\n%s", diff)
		}
		stop()
		<-done
	})
}
