package install

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// claim is one that somebody made. It asks for a size, and has it only if it is bound.
func claim(namespace, name, size string, bound bool) *corev1.PersistentVolumeClaim {
	amount := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if bound {
		claim.Status.Capacity = amount
	} else {
		claim.Spec.Resources.Requests = amount
	}
	return claim
}

// second is another namespace of the node.
func second() *corev1.Namespace {
	namespace := ownNamespace()
	namespace.Name, namespace.UID = contract.RemoteNamespace("vk", "other"), "2"
	return namespace
}

// namespacesLeft are the names of all namespaces.
func namespacesLeft(t *testing.T, c *kubeclient.Cluster) []string {
	t.Helper()
	left, err := c.Client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for n := range left.Items {
		names = append(names, left.Items[n].Name)
	}
	slices.Sort(names)
	return names
}

// uninstall deleted the node's remote namespaces with the volumes in them.
func TestCheckVolumes(t *testing.T) {
	t.Parallel()
	own, other := ownNamespace(), second()
	theirs := &corev1.Namespace{ObjectMeta: labelled("elsewhere")}
	theirs.Namespace, theirs.Name = "", contract.RemoteNamespace("vk", "theirs")
	namespaces := []runtime.Object{own, other, theirs}
	denied := apierrors.NewForbidden(corev1.Resource("persistentvolumeclaims"), "", errors.New("no"))
	cases := map[string]struct {
		reason  string
		claims  []runtime.Object
		answer  error
		options uninstallOptions
		refused string
	}{
		"None":   {reason: "there is nothing to lose"},
		"Theirs": {reason: "another cluster's node stays", claims: []runtime.Object{claim(theirs.Name, "data", "1Gi", true)}},
		"One": {
			reason: "whoever made it", claims: []runtime.Object{claim(own.Name, "somebodys", "1Gi", true)},
			refused: "1 volume, 1Gi, in remote namespace " + own.Name,
		},
		"Unknown": {reason: "an error is not an empty list", answer: denied, refused: "list the claims in remote namespace " + other.Name},
		"Some": {
			reason: "the message says what it is about, and the three things that can be done",
			claims: []runtime.Object{claim(own.Name, "a", "1Gi", true), claim(own.Name, "b", "10Gi", false), claim(other.Name, "c", "1Gi", true)},
			refused: "node vk holds 3 volumes, 12Gi, in remote namespaces " + other.Name + ", " + own.Name +
				": delete their claims, keep them with --keep-volumes, or give up the data with --delete-volumes",
		},
		"Keep": {
			reason: "the user has said what becomes of them", claims: []runtime.Object{claim(own.Name, "a", "1Gi", true)},
			options: uninstallOptions{keepVolumes: true},
		},
		"Delete": {
			reason: "likewise", claims: []runtime.Object{claim(own.Name, "a", "1Gi", true)},
			options: uninstallOptions{deleteVolumes: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			remote := remoteOf(slices.Concat(namespaces, tc.claims)...)
			remote.Client.(*fake.Clientset).PrependReactor("list", "persistentvolumeclaims",
				func(clienttesting.Action) (bool, runtime.Object, error) { return tc.answer != nil, nil, tc.answer })
			o := tc.options
			o.node = "vk"
			err := o.checkVolumes(t.Context(), remote, contract.Owner{Node: "vk", ClusterUID: "here"})
			if (err == nil) != (tc.refused == "") || err != nil && !strings.Contains(err.Error(), tc.refused) {
				t.Errorf("%s: error %v, want %q", tc.reason, err, tc.refused)
			}
		})
	}
}

// A claim that was made after uninstall had looked for claims does not go with its namespace.
func TestRemoveNamespacesLooksAgain(t *testing.T) {
	t.Parallel()
	own, other := ownNamespace(), second()
	remote := remoteOf(own, other, claim(own.Name, "late", "1Gi", true))
	u := &uninstaller{owner: contract.Owner{Node: "vk", ClusterUID: "here"}}
	err := u.removeNamespaces(t.Context(), remote)
	if want := "node vk holds 1 volume, 1Gi, in remote namespace " + own.Name; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	if left := namespacesLeft(t, remote); !slices.Contains(left, own.Name) {
		t.Errorf("namespaces %v are left, want %s", left, own.Name)
	}
}

// A namespace in which nobody may look for claims stays.
func TestRemoveNamespacesNeedsAnAnswer(t *testing.T) {
	t.Parallel()
	own := ownNamespace()
	remote := remoteOf(own)
	remote.Client.(*fake.Clientset).PrependReactor("list", "persistentvolumeclaims",
		func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewServiceUnavailable("no")
		})
	u := &uninstaller{owner: contract.Owner{Node: "vk", ClusterUID: "here"}, keepVolumes: true}
	if err := u.removeNamespaces(t.Context(), remote); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{own.Name}, namespacesLeft(t, remote)); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
}

// With --keep-volumes a namespace stays with its claims and its labels, and with what others
// made in it, and akd's pods and copies of Secrets go.
func TestKeepVolumes(t *testing.T) {
	t.Parallel()
	own, other := ownNamespace(), second()
	in := func(namespace, name string) metav1.ObjectMeta {
		meta := labelled("here")
		meta.Namespace, meta.Name = namespace, name
		return meta
	}
	data := claim(own.Name, "pvc-1", "1Gi", true)
	data.ObjectMeta = in(own.Name, "pvc-1")
	backup := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: own.Name, Name: "administrators-backup"}}
	remote := remoteOf(own, other, data, backup, &corev1.Pod{ObjectMeta: in(own.Name, "db-0")},
		&corev1.Secret{ObjectMeta: in(own.Name, "password")}, &corev1.Secret{ObjectMeta: in("elsewhere", "not-in-a-namespace-of-the-node")})
	u := &uninstaller{owner: contract.Owner{Node: "vk", ClusterUID: "here"}, keepVolumes: true}
	if err := u.removeNamespaces(t.Context(), remote); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{own.Name}, namespacesLeft(t, remote)); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	if got, want := u.kept.String(), "1 volume, 1Gi, in remote namespace "+own.Name; got != want {
		t.Errorf("kept %q, want %q", got, want)
	}
	var left []string
	for _, kind := range []string{"pods", "secrets", "persistentvolumeclaims"} {
		list, err := remote.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: kind}).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for n := range list.Items {
			left = append(left, kind+" "+list.Items[n].GetName())
		}
	}
	want := []string{"pods administrators-backup", "secrets not-in-a-namespace-of-the-node", "persistentvolumeclaims pvc-1"}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// With --delete-volumes the namespaces go with their claims.
func TestDeleteVolumes(t *testing.T) {
	t.Parallel()
	own := ownNamespace()
	remote := remoteOf(own, claim(own.Name, "data", "1Gi", true))
	u := &uninstaller{owner: contract.Owner{Node: "vk", ClusterUID: "here"}, deleteVolumes: true}
	if err := u.removeNamespaces(t.Context(), remote); err != nil {
		t.Fatal(err)
	}
	if left := namespacesLeft(t, remote); len(left) > 0 {
		t.Errorf("namespaces %v are left", left)
	}
}

// actual-system goes with everything in it, but not with volumes.
func TestRemoveObjectsKeepsClaims(t *testing.T) {
	t.Parallel()
	shared := object("v1", "Namespace", contract.SystemNamespace, "")
	remote := remoteOf(shared, claim(contract.SystemNamespace, "somebodys", "1Gi", true))
	u := &uninstaller{owner: contract.Owner{Node: "vk", ClusterUID: "here"}, deleteVolumes: true}
	err := u.removeObjects(t.Context(), remote, removalStep{kinds: []schema.GroupKind{{Kind: "Namespace"}}})
	if want := "remote namespace actual-system holds 1 claims, such as somebodys"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// The node's classes go, unless they are for other nodes, too. Volumes and claims stay, and
// with --delete-volumes akd's finalizer is taken off those volumes whose remote claims are
// known to be gone.
func TestRemoveStorage(t *testing.T) {
	t.Parallel()
	class := func(name, provisioner string, nodes ...string) *storagev1.StorageClass {
		return &storagev1.StorageClass{
			ObjectMeta:  metav1.ObjectMeta{Name: name, UID: "1", Labels: map[string]string{contract.LabelNodeName: "vk"}},
			Provisioner: provisioner,
			AllowedTopologies: []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{
				{Key: contract.LabelNodeName, Values: nodes},
			}}},
		}
	}
	volume := func(name, node, cluster string) *corev1.PersistentVolume {
		return &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, UID: "1", Labels: map[string]string{contract.LabelNodeName: node},
				Finalizers: []string{"kubernetes.io/pv-protection", contract.FinalizerRemoteClaim},
			},
			Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: contract.StorageDriver, VolumeHandle: contract.VolumeHandle("vk-1", name),
				VolumeAttributes: map[string]string{contract.AttributeRemoteClusterUID: cluster},
			}}},
		}
	}
	objects := func() []runtime.Object {
		return []runtime.Object{
			class("own", contract.StorageDriver, "vk"), class("both", contract.StorageDriver, "vk", "other"),
			class("relabelled", "example.com/disk", "vk"),
			volume("pvc-gone", "vk", "remote"), volume("pvc-there", "vk", "remote"), volume("pvc-former-cluster", "vk", "another"),
			volume("pvc-others", "other", "remote"),
		}
	}
	cases := map[string]struct {
		reason   string
		delete   bool
		remote   *kubeclient.Cluster
		outcome  string
		released []string
	}{
		"Keep": {
			reason: "a node that is installed again needs the volumes as they are", remote: remoteOf(),
			outcome: "1 removed; StorageClass both stays, because it is for other nodes, too",
		},
		"Unreached": {
			reason: "a remote cluster that is not asked has not said that a claim is gone", delete: true,
			outcome: "1 removed; StorageClass both stays, because it is for other nodes, too",
		},
		"Delete": {
			reason: "nobody else would do it", delete: true, remote: remoteOf(claim("vk-1", "pvc-there", "1Gi", true)),
			outcome: "1 removed; StorageClass both stays, because it is for other nodes, too; " +
				"1 PersistentVolumes have no data any more, delete them and their claims",
			released: []string{"pvc-gone"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			local := remoteOf(objects()...)
			local.Side, local.UID = kubeclient.Local, "here"
			u := &uninstaller{
				owner:         contract.Owner{Node: "vk", ClusterUID: "here"},
				both:          kubeclient.Clusters{Local: local, Remote: tc.remote},
				deleteVolumes: tc.delete,
			}
			outcome, err := u.removeStorage(t.Context(), local)
			if err != nil || outcome != tc.outcome {
				t.Errorf("%s: outcome %q (%v), want %q", tc.reason, outcome, err, tc.outcome)
			}
			classes, err := local.Client.StorageV1().StorageClasses().List(t.Context(), metav1.ListOptions{})
			if err != nil || len(classes.Items) != 2 {
				t.Errorf("%s: %d classes are left (%v), want 2", tc.reason, len(classes.Items), err)
			}
			left, err := local.Client.CoreV1().PersistentVolumes().List(t.Context(), metav1.ListOptions{})
			if err != nil || len(left.Items) != 4 {
				t.Errorf("%s: %d volumes are left (%v), want all 4", tc.reason, len(left.Items), err)
			}
			var released []string
			for n := range left.Items {
				if !slices.Contains(left.Items[n].Finalizers, contract.FinalizerRemoteClaim) {
					released = append(released, left.Items[n].Name)
				}
			}
			if diff := cmp.Diff(tc.released, released, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: released (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// The CSIDriver goes with the last node, also if that was installed without storage.
func TestRemoveObjectsRemovesDriver(t *testing.T) {
	t.Parallel()
	mapping, err := remoteOf().Mapper.RESTMapping(schema.GroupKind{Group: storagev1.GroupName, Kind: "CSIDriver"})
	if err != nil {
		t.Fatal(err)
	}
	driver := object(mapping.GroupVersionKind.GroupVersion().String(), "CSIDriver", contract.StorageDriver, "")
	other := object("v1", "ServiceAccount", "other", "other")
	for name, tc := range map[string]struct {
		more []runtime.Object
		want int
	}{
		"last node":    {},
		"another node": {more: []runtime.Object{other}, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			local := remoteOf(append(tc.more, driver.DeepCopy())...)
			local.Side = kubeclient.Local
			u := &uninstaller{owner: contract.Owner{Node: "vk", ClusterUID: "here"}}
			if err := u.removeObjects(t.Context(), local, removalStep{kinds: []schema.GroupKind{{Kind: "ServiceAccount"}}}); err != nil {
				t.Fatal(err)
			}
			left, err := local.Dynamic.Resource(mapping.Resource).List(t.Context(), metav1.ListOptions{})
			if err != nil || len(left.Items) != tc.want {
				t.Errorf("%d drivers are left (%v), want %d", len(left.Items), err, tc.want)
			}
		})
	}
}
