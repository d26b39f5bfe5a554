package install

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/owner"
)

// remoteOf is a remote cluster with some objects.
func remoteOf(objects ...runtime.Object) *kubeclient.Cluster {
	return &kubeclient.Cluster{
		Side:    kubeclient.Remote,
		UID:     "remote",
		Client:  fake.NewClientset(objects...),
		Dynamic: dynamicfake.NewSimpleDynamicClient(scheme.Scheme, objects...),
		Mapper:  testrestmapper.TestOnlyStaticRESTMapper(scheme.Scheme),
	}
}

// applies lets a fake cluster accept what is applied: it knows no server-side apply.
func applies(c *kubeclient.Cluster) {
	c.Dynamic.(*dynamicfake.FakeDynamicClient).PrependReactor("patch", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		object := &unstructured.Unstructured{}
		return true, object, object.UnmarshalJSON(action.(clienttesting.PatchAction).GetPatch())
	})
}

// installing is an installer of node vk of the local cluster here.
func installing(remote *kubeclient.Cluster) *installer {
	both := kubeclient.Clusters{Local: &kubeclient.Cluster{Side: kubeclient.Local, UID: "here"}, Remote: remote}
	return &installer{options: &installOptions{nodeOptions: *options(nil)}, both: both}
}

func labelled(cluster string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: contract.SystemNamespace,
		Name:      "vk",
		UID:       "1",
		Labels:    map[string]string{contract.LabelNodeName: "vk", contract.LabelClusterUID: cluster},
	}
}

// Of two installations at the same time, one has the name: the other's has looked
// before the account was there, and must not overwrite it.
func TestClaim(t *testing.T) {
	t.Parallel()
	objects, err := manifests.Remote(manifests.Values{Node: "vk", ClusterUID: "here"})
	if err != nil {
		t.Fatal(err)
	}
	objects = withRecord(objects, nil)
	objects = objects[:afterAccount(objects)]
	for cluster, want := range map[string]string{
		"":          "",
		"here":      "",
		"elsewhere": "node vk belongs to another local cluster in the remote one: to that with UID elsewhere",
	} {
		var stored []runtime.Object
		if cluster != "" {
			stored = append(stored, &corev1.ServiceAccount{ObjectMeta: labelled(cluster)})
		}
		remote := remoteOf(stored...)
		applies(remote)
		i := installing(remote)
		_, err := i.claim(t.Context(), objects)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("the account of %q: error %v, want %q", cluster, err, want)
		}
		account, err := i.both.Remote.Resource(objects[len(objects)-1])
		if err != nil {
			t.Fatal(err)
		}
		found, err := account.Get(t.Context(), "vk", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := owner.ClusterOf(found); cluster == "elsewhere" && got != "elsewhere" || cluster != "elsewhere" && got != "here" {
			t.Errorf("the account of %q is of %q afterwards", cluster, got)
		}
	}
}

// What another cluster had becomes this one's, contents of namespaces included; its
// credential ends. Nothing else is deleted, and what is not the node's stays as it is. There
// was no account then, without which policies deny every change of pods and claims: with one
// of either, nothing was taken over.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	namespace := &corev1.Namespace{ObjectMeta: labelled("elsewhere")}
	namespace.Namespace, namespace.Name = "", contract.RemoteNamespace("vk", "shop")
	pod := &corev1.Pod{ObjectMeta: labelled("elsewhere")}
	pod.Namespace = namespace.Name
	volume := &corev1.PersistentVolumeClaim{ObjectMeta: *pod.ObjectMeta.DeepCopy()}
	foreign := pod.DeepCopy()
	foreign.Name, foreign.Labels = "foreign", map[string]string{contract.LabelNodeName: "other", contract.LabelClusterUID: "elsewhere"}
	remote := remoteOf(&corev1.ServiceAccount{ObjectMeta: labelled("elsewhere")}, namespace, pod, volume, foreign)
	deniesWithoutAccount(remote)
	i := installing(remote)
	var err error
	if i.claims, err = owner.Find(t.Context(), remote, i.both.Owner("vk")); err != nil {
		t.Fatal(err)
	}
	if got, err := i.takeOver(t.Context()); err != nil || got != "4 objects taken over" {
		t.Errorf("got %q, %v", got, err)
	}
	got := map[string]string{}
	for _, object := range []*unstructured.Unstructured{
		stored("ServiceAccount", contract.SystemNamespace, "vk"),
		stored("Namespace", "", namespace.Name),
		stored("Pod", namespace.Name, "vk"),
		stored(claimKind, namespace.Name, "vk"),
		stored("Pod", namespace.Name, "foreign"),
	} {
		client, err := remote.Resource(object)
		if err != nil {
			t.Fatal(err)
		}
		found, err := client.Get(t.Context(), object.GetName(), metav1.GetOptions{})
		if err != nil {
			got[kubeclient.Title(object)] = "gone"
			continue
		}
		got[kubeclient.Title(object)] = string(owner.ClusterOf(found))
	}
	want := map[string]string{
		"ServiceAccount actual-system/vk":                 "here",
		"Namespace " + namespace.Name:                     "here",
		"Pod " + namespace.Name + "/vk":                   "here",
		"PersistentVolumeClaim " + namespace.Name + "/vk": "here",
		"Pod " + namespace.Name + "/foreign":              "elsewhere",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// deniesWithoutAccount lets a fake cluster deny what its policies do if there is no service
// account, whose settings they need: every change of a pod or a claim, whoever makes it.
func deniesWithoutAccount(c *kubeclient.Cluster) {
	client := c.Dynamic.(*dynamicfake.FakeDynamicClient)
	client.PrependReactor("patch", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		resource := action.GetResource()
		_, err := client.Tracker().Get(corev1.SchemeGroupVersion.WithResource("serviceaccounts"), contract.SystemNamespace, "vk")
		if resource.Resource != "pods" && resource.Resource != "persistentvolumeclaims" || err == nil {
			return false, nil, nil
		}
		return true, nil, apierrors.NewForbidden(resource.GroupResource(), "vk", errors.New("no params found for policy binding"))
	})
}

// stored is the name of an object of the core group.
func stored(kind, namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("v1")
	object.SetKind(kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}
