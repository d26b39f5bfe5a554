package install

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

func ofAKD() []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: contract.SystemNamespace, Name: "vk"}}
}

func binding(namespace, name string, subjects []rbacv1.Subject) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Subjects: subjects}
}

func ownNamespace(conditions ...corev1.NamespaceCondition) *corev1.Namespace {
	namespace := &corev1.Namespace{ObjectMeta: labelled("here"), Status: corev1.NamespaceStatus{Conditions: conditions}}
	namespace.Namespace, namespace.Name = "", contract.RemoteNamespace("vk", "shop")
	return namespace
}

// A finalizer in one of the node's namespaces held uninstall up, while a thief of the
// credential kept all rights: they go first, and only what is akd's goes.
func TestRevokeRights(t *testing.T) {
	t.Parallel()
	everywhere := &rbacv1.ClusterRoleBinding{ObjectMeta: labelled("here")}
	everywhere.Namespace, everywhere.Name = "", "actual.vk:vk"
	theirs := everywhere.DeepCopy()
	theirs.Name, theirs.Labels[contract.LabelClusterUID] = "theirs", "elsewhere"
	own := ownNamespace()
	others := []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: "somebody"}}
	remote := remoteOf(everywhere, theirs, own,
		binding(own.Name, "by-a-thief", ofAKD()), binding(own.Name, "others", others),
		binding(contract.SystemNamespace, "vk.tenant", ofAKD()), binding("elsewhere", "kept", ofAKD()))
	u := &uninstaller{owner: contract.Owner{Node: "vk", ClusterUID: "here"}}
	if err := u.revokeRights(t.Context(), remote); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, action := range remote.Client.(*fake.Clientset).Actions() {
		if deletion, is := action.(clienttesting.DeleteAction); is {
			got = append(got, action.GetNamespace()+"/"+deletion.GetName())
		}
	}
	slices.Sort(got)
	want := []string{"/actual.vk:vk", "actual-system/vk.tenant", own.Name + "/by-a-thief"}
	if diff := cmp.Diff(want, got); diff != "" || u.removed != len(want) {
		t.Errorf("%d removed (-want +got):\n%s", u.removed, diff)
	}
	// There was no account: then, policies deny to delete the namespaces.
	accounts, err := remote.Resource(stored(accountKind, contract.SystemNamespace, "vk"))
	if err != nil {
		t.Fatal(err)
	}
	account, err := accounts.Get(t.Context(), "vk", metav1.GetOptions{})
	if err != nil || account.GetLabels()[contract.LabelClusterUID] != "here" {
		t.Errorf("the account: %v, %v", account, err)
	}
}

// akd is gone, and cannot take its finalizer off the pods: uninstall does, and leaves
// those of others.
func TestRemoveNamespacesLetsGoOfPods(t *testing.T) {
	t.Parallel()
	own := ownNamespace()
	pod := func(namespace, name string, finalizers ...string) *corev1.Pod {
		pod := &corev1.Pod{ObjectMeta: labelled("here")}
		pod.Namespace, pod.Name, pod.UID, pod.Finalizers = namespace, name, "uid", finalizers
		return pod
	}
	const others = "example.org/administrators"
	remote := remoteOf(own, pod(own.Name, "job", contract.FinalizerLastState), pod(own.Name, "both", others, contract.FinalizerLastState),
		pod(own.Name, "others", others), pod("elsewhere", "kept", contract.FinalizerLastState))
	u := &uninstaller{owner: contract.Owner{Node: "vk", ClusterUID: "here"}}
	if err := u.removeNamespaces(t.Context(), remote); err != nil {
		t.Fatal(err)
	}
	left, err := remote.Client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for n := range left.Items {
		got[left.Items[n].Name] = left.Items[n].Finalizers
	}
	want := map[string][]string{"job": {}, "both": {others}, "others": {others}, "kept": {contract.FinalizerLastState}}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("finalizers (-want +got):\n%s", diff)
	}
}

// What holds a namespace up is in the namespace's own conditions: nobody should have
// to look for it.
func TestRemoveNamespacesNamesObstacles(t *testing.T) {
	t.Parallel()
	now := metav1.Now()
	held := ownNamespace(
		corev1.NamespaceCondition{
			Type: corev1.NamespaceContentRemaining, Status: corev1.ConditionTrue, Message: "pods. has 1 resource instances",
		},
		corev1.NamespaceCondition{
			Type: corev1.NamespaceFinalizersRemaining, Status: corev1.ConditionTrue, Message: "example.com/stay in 1 resource instances",
		},
		corev1.NamespaceCondition{Type: corev1.NamespaceDeletionDiscoveryFailure, Status: corev1.ConditionFalse, Message: "all is well"},
	)
	held.DeletionTimestamp, held.Finalizers = &now, []string{"kubernetes"}
	ctx, cancel := context.WithCancel(t.Context())
	remote := remoteOf(held)
	remote.Client.(*fake.Clientset).PrependReactor("list", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
		cancel() // the time is over when it was looked at once
		return false, nil, nil
	})
	u := &uninstaller{owner: contract.Owner{Node: "vk", ClusterUID: "here"}}
	err := u.removeNamespaces(ctx, remote)
	const want = "1 remote namespaces are still terminating; vk-93104c7ea350e1e1: pods. has 1 resource instances; " +
		"example.com/stay in 1 resource instances"
	hints := strings.Join(failure.Hints(err), " ")
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(hints, "run the same command again") {
		t.Errorf("error %v, hints %q, want %q", err, failure.Hints(err), want)
	}
}

// While the last node's objects went, another cluster's node came: without the
// policies that all nodes share, nothing would confine it.
func TestRemoveObjectsLooksAgain(t *testing.T) {
	t.Parallel()
	own := object("rbac.authorization.k8s.io/v1", "ClusterRole", "actual.vk:vk", "vk")
	own.SetLabels(map[string]string{
		kubeclient.LabelManagedBy: kubeclient.FieldManager, contract.LabelNodeName: "vk", contract.LabelClusterUID: "here",
	})
	shared := object("rbac.authorization.k8s.io/v1", "ClusterRole", "actual.vk:tenant", "")
	remote := remoteOf(own, shared)
	client := remote.Dynamic.(*dynamicfake.FakeDynamicClient)
	came := object("rbac.authorization.k8s.io/v1", "ClusterRole", "actual.vk:other", "other")
	client.PrependReactor("delete", "clusterroles", func(clienttesting.Action) (bool, runtime.Object, error) {
		return false, nil, client.Tracker().Add(came)
	})
	u := &uninstaller{owner: contract.Owner{Node: "vk", ClusterUID: "here"}}
	kinds := []schema.GroupKind{{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}}
	if err := u.removeObjects(t.Context(), remote, removalStep{kinds: kinds}); err != nil {
		t.Fatal(err)
	}
	left, err := listInstalled(t.Context(), remote, kinds)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, object := range left {
		names = append(names, object.GetName())
	}
	if diff := cmp.Diff([]string{"actual.vk:other", "actual.vk:tenant"}, names); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// Namespaces of another cluster's node of the same name are not deleted.
func TestRemoveNamespacesOfTheNode(t *testing.T) {
	t.Parallel()
	foreign := &corev1.Namespace{ObjectMeta: labelled("elsewhere")}
	foreign.Namespace, foreign.Name = "", contract.RemoteNamespace("vk", "theirs")
	remote := remoteOf(ownNamespace(), foreign)
	u := &uninstaller{owner: contract.Owner{Node: "vk", ClusterUID: "here"}}
	if err := u.removeNamespaces(t.Context(), remote); err != nil {
		t.Fatal(err)
	}
	left, err := remote.Client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 1 || left.Items[0].Name != foreign.Name {
		t.Errorf("left are %v (%v), want %s alone", left.Items, err, foreign.Name)
	}
}

// A stolen token may have made what its end does not end.
func TestSurvivors(t *testing.T) {
	t.Parallel()
	own := ownNamespace()
	running := corev1.PodStatus{Phase: corev1.PodRunning}
	akds := &corev1.Pod{ObjectMeta: labelled("here"), Status: running}
	akds.Namespace, akds.Labels[contract.LabelNamespace], akds.Labels[contract.LabelUID] = own.Name, "shop", "1"
	thiefs := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: own.Name, Name: "miner"}, Status: running}
	token := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: own.Name, Name: "forever"}, Type: corev1.SecretTypeServiceAccountToken}
	everywhere := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "more"}, Subjects: ofAKD()}
	others := []rbacv1.Subject{{Kind: rbacv1.GroupKind, Name: "system:authenticated"}}
	endless := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: own.Name, Name: "endless"}}
	hoard := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: own.Name, Name: "pvc-hoard"}}
	used := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: own.Name, Name: "pvc-1", Annotations: map[string]string{contract.AnnotationVolume: "1"},
	}}
	remote := remoteOf(own, akds, thiefs, endless, hoard, used, token, everywhere,
		binding(own.Name, "open", others), binding(own.Name, "akd", ofAKD()), binding("kube-system", "extra", ofAKD()))
	got, err := survivors(t.Context(), remote, contract.Owner{Node: "vk", ClusterUID: "here"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"2 pods run in the node's remote namespaces",
		"1 of them are not akd's (" + own.Name + "/miner)",
		"1 PodDisruptionBudgets keep pods from being evicted (" + own.Name + "/endless)",
		"1 PersistentVolumeClaims have no local volume (" + own.Name + "/pvc-hoard)",
		"1 Secrets hold tokens of service accounts (" + own.Name + "/forever)",
		"1 role bindings give others rights in the node's namespaces (" + own.Name + "/open)",
		"1 role bindings give akd rights elsewhere, and still do (kube-system/extra)",
		"1 cluster role bindings give akd rights everywhere, and still do (more)",
	}
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for n := range want {
		if !strings.HasPrefix(got[n], want[n]) {
			t.Errorf("got %q, want %q", got[n], want[n])
		}
	}
	clean, err := survivors(t.Context(), &kubeclient.Cluster{Client: fake.NewClientset()}, contract.Owner{Node: "vk", ClusterUID: "here"})
	if err != nil || len(clean) > 0 {
		t.Errorf("of nothing: %q, %v", clean, err)
	}
}
