package install

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// object is one that kubectl actual made, of a node or of all nodes.
func object(apiVersion, kind, name, node string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetName(name)
	labels := map[string]string{kubeclient.LabelManagedBy: kubeclient.FieldManager, kubeclient.LabelPartOf: kubeclient.PartOf}
	if node != "" {
		labels[contract.LabelNodeName] = node
	}
	o.SetLabels(labels)
	return o
}

func TestWithRecord(t *testing.T) {
	objects, err := manifests.Remote(manifests.Values{Node: "vk", ClusterUID: "here"})
	if err != nil {
		t.Fatal(err)
	}
	const admission, rbac = ".admissionregistration.k8s.io", ".rbac.authorization.k8s.io"
	installed := "ClusterRole" + rbac + ",ClusterRoleBinding" + rbac + ",ConfigMap,Namespace,Role" + rbac + ",RoleBinding" + rbac +
		",Secret,ServiceAccount,ValidatingAdmissionPolicy" + admission + ",ValidatingAdmissionPolicyBinding" + admission
	cases := map[string]struct {
		reason   string
		recorded []schema.GroupKind
		want     string
	}{
		"First": {reason: "what is applied, and the credential", want: installed},
		"Upgrade": {
			reason:   "what an earlier version installed may still be there",
			recorded: []schema.GroupKind{{Kind: "Widget", Group: "example.com"}, {Kind: "Secret"}},
			want:     installed + ",Widget.example.com",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := withRecord(objects, tc.recorded)
			if len(got) != len(objects) || got[0].GetKind() != "Namespace" || got[1].GetKind() != "ServiceAccount" {
				t.Fatalf("%d objects that begin with %s and %s: the record has to come first",
					len(got), got[0].GetKind(), got[1].GetKind())
			}
			if diff := cmp.Diff(tc.want, got[1].GetAnnotations()[contract.AnnotationInstalledKinds]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if slices.ContainsFunc(objects, func(o *unstructured.Unstructured) bool {
				return o.GetAnnotations()[contract.AnnotationInstalledKinds] != ""
			}) {
				t.Error("the objects themselves were changed")
			}
		})
	}
}

// The approver has an account, too: the record stays on akd's.
func TestRecordIsOnAKDsAccount(t *testing.T) {
	objects, err := manifests.Local(manifests.Values{Node: "vk", Image: "akd", ApproveCertificates: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range withRecord(objects, nil) {
		recorded := object.GetAnnotations()[contract.AnnotationInstalledKinds] != ""
		if want := object.GetKind() == "ServiceAccount" && object.GetName() == "vk"; recorded != want {
			t.Errorf("%s: has a record: %t", kubeclient.Title(object), recorded)
		}
	}
}

// What is recorded is what is read.
func TestReadKinds(t *testing.T) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: contract.SystemNamespace, Name: "vk",
		Annotations: map[string]string{contract.AnnotationInstalledKinds: "Role.rbac.authorization.k8s.io,Secret"},
	}}
	old := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: contract.SystemNamespace, Name: "old"}}
	c := &kubeclient.Cluster{Side: kubeclient.Local, Client: fake.NewClientset(account, old)}
	for node, want := range map[string][]schema.GroupKind{
		"vk":     {{Kind: "Role", Group: "rbac.authorization.k8s.io"}, {Kind: "Secret"}},
		"old":    nil,
		"nobody": nil,
	} {
		got, err := readKinds(t.Context(), c, node)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("node %s (-want +got):\n%s", node, diff)
		}
	}
}

func TestRemoval(t *testing.T) {
	const rbac, admission = "rbac.authorization.k8s.io/v1", "admissionregistration.k8s.io/v1"
	own := []*unstructured.Unstructured{
		object("v1", "ServiceAccount", "vk", "vk"),
		object(admission, "ValidatingAdmissionPolicy", "namespaces.vk", "vk"),
		object("v1", "Secret", "vk", "vk"),
		object(rbac, "ClusterRoleBinding", "actual.vk:vk", "vk"),
	}
	shared := []*unstructured.Unstructured{
		object("v1", "Namespace", "actual-system", ""),
		object(rbac, "ClusterRole", "actual.vk:tenant", ""),
	}
	foreign := object("v1", "ConfigMap", "somebody's", "")
	foreign.SetLabels(map[string]string{kubeclient.LabelManagedBy: kubeclient.FieldManager})
	other := object("v1", "ServiceAccount", "other", "other")
	cases := map[string]struct {
		reason  string
		objects []*unstructured.Unstructured
		want    []string
		last    bool
	}{
		"Another node": {
			reason:  "what nodes share stays, and so does what is another's",
			objects: slices.Concat(own, shared, []*unstructured.Unstructured{other}),
			want:    []string{"Secret vk", "ClusterRoleBinding actual.vk:vk", "ValidatingAdmissionPolicy namespaces.vk", "ServiceAccount vk"},
		},
		"Last node": {
			reason: "rights go before what confines them; the record and its namespace at last", last: true,
			objects: slices.Concat(shared, own, []*unstructured.Unstructured{foreign}),
			want: []string{
				"ClusterRole actual.vk:tenant", "Secret vk", "ClusterRoleBinding actual.vk:vk",
				"ValidatingAdmissionPolicy namespaces.vk", "ServiceAccount vk", "Namespace actual-system",
			},
		},
		"Nothing": {reason: "it was uninstalled before", last: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			remove, last := removal(tc.objects, func(o *unstructured.Unstructured) bool { return o.GetLabels()[contract.LabelNodeName] == "vk" })
			var got []string
			for _, o := range remove {
				got = append(got, kubeclient.Title(o))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || last != tc.last {
				t.Errorf("%s: last %t (-want +got):\n%s", tc.reason, last, diff)
			}
		})
	}
}
