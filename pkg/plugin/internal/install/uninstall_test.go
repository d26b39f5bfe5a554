package install

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// After kubectl drain --ignore-daemonsets a node still has the pods of DaemonSets.
// uninstall refused because of them, for ever, and advised to drain.
func TestRunningPods(t *testing.T) {
	pod := func(name, owner string, phase corev1.PodPhase, annotations map[string]string) *corev1.Pod {
		made := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Annotations: annotations},
			Status:     corev1.PodStatus{Phase: phase},
		}
		if owner != "" {
			made.OwnerReferences = []metav1.OwnerReference{{Kind: owner, Name: "owner", Controller: new(true)}}
		}
		return made
	}
	local := &kubeclient.Cluster{Side: kubeclient.Local, Client: fake.NewClientset(
		pod("alone", "", corev1.PodRunning, nil),
		pod("daemon", "DaemonSet", corev1.PodRunning, nil),
		pod("failed", "ReplicaSet", corev1.PodFailed, nil),
		pod("mirror", "Node", corev1.PodRunning, map[string]string{corev1.MirrorPodAnnotationKey: "hash"}),
		pod("succeeded", "Job", corev1.PodSucceeded, nil),
		pod("waiting", "ReplicaSet", corev1.PodPending, nil),
	)}
	got, err := runningPods(t.Context(), local, "vk")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"shop/alone", "shop/waiting"}, got); diff != "" {
		t.Errorf("what drain moves counts (-want +got):\n%s", diff)
	}
}

// A pod that a finalizer holds does not end with its node: whose it is must be said.
func TestRemovePodsNamesObstacles(t *testing.T) {
	t.Parallel()
	pod := func(name string, finalizers ...string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Finalizers: finalizers},
			Spec:       corev1.PodSpec{NodeName: "vk"},
		}
	}
	u := &uninstaller{owner: contract.Owner{Node: "vk", ClusterUID: "here"}}
	local := &kubeclient.Cluster{Side: kubeclient.Local, Client: fake.NewClientset(pod("cache"), pod("db", "example.com/backup"))}
	none, seen, err := u.removePods(t.Context(), local)
	const want = "2 pods of the node are ending; shop/db has the finalizers example.com/backup"
	if none || seen != want || err != nil {
		t.Errorf("none %t, seen %q, error %v, want %q", none, seen, err, want)
	}
}

// What holds up akd's own namespace is not to be looked for either.
func TestRemoveObjectsNamesObstacles(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	local := &kubeclient.Cluster{
		Side:    kubeclient.Local,
		Dynamic: dynamicfake.NewSimpleDynamicClient(scheme.Scheme),
		Mapper:  testrestmapper.TestOnlyStaticRESTMapper(scheme.Scheme),
		Client: fake.NewClientset(&corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: contract.SystemNamespace},
			Status: corev1.NamespaceStatus{Conditions: []corev1.NamespaceCondition{{
				Type: corev1.NamespaceContentRemaining, Status: corev1.ConditionTrue, Message: "secrets. has 1 resource instances",
			}}},
		}),
	}
	local.Client.(*fake.Clientset).PrependReactor("get", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
		cancel() // the time is over when it was looked at once
		return false, nil, nil
	})
	u := &uninstaller{owner: contract.Owner{Node: "vk", ClusterUID: "here"}}
	err := u.removeObjects(ctx, local, removalStep{})
	const want = "local namespace actual-system is still terminating: secrets. has 1 resource instances"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}
