package owner_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/owner"
)

// of are the labels of node vk of a local cluster; without a UID, of nobody.
func of(cluster string) metav1.ObjectMeta {
	labels := map[string]string{contract.LabelNodeName: "vk"}
	if cluster != "" {
		labels[contract.LabelClusterUID] = cluster
	}
	return metav1.ObjectMeta{Labels: labels}
}

func account(cluster string) *corev1.ServiceAccount {
	account := &corev1.ServiceAccount{ObjectMeta: of(cluster)}
	account.Namespace, account.Name = contract.SystemNamespace, "vk"
	account.Annotations = map[string]string{contract.AnnotationLocalServer: "https://192.0.2.1:6443"}
	return account
}

func namespace(cluster string) *corev1.Namespace {
	namespace := &corev1.Namespace{ObjectMeta: of(cluster)}
	namespace.Name = contract.RemoteNamespace("vk", "shop")
	return namespace
}

// Whoever has an object of the node's name in the remote cluster has the name: two
// local clusters gave a node the same one, and the second was installed over the
// first, with a token of the first one's service account.
func TestFind(t *testing.T) {
	role := &rbacv1.ClusterRole{ObjectMeta: of("elsewhere")}
	role.Name = "actual.vk:vk"
	cidr := &networkingv1.ServiceCIDR{ObjectMeta: of("elsewhere")}
	cidr.Name = "services.vk.actual.vk"
	bare := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: contract.SystemNamespace, Name: "vk.namespaces"}}
	other := account("elsewhere")
	other.Name = "other"
	cases := map[string]struct {
		reason  string
		objects []runtime.Object
		own     int
		want    string // in the refusal; empty means none
		without string // likewise, for commands that touch only the owner's
	}{
		"Free": {reason: "nobody has the name", objects: []runtime.Object{other}},
		"Own":  {reason: "an upgrade", objects: []runtime.Object{account("here"), namespace("here")}, own: 2},
		"Foreign": {
			reason:  "it says whose it is, and how to find that cluster",
			objects: []runtime.Object{namespace("elsewhere"), account("elsewhere")},
			want: "node vk belongs to another local cluster in the remote one: to that with UID elsewhere, " +
				"whose API server is https://192.0.2.1:6443, according to ServiceAccount actual-system/vk and 1 more, created at ",
			without: "with UID elsewhere",
		},
		"Role": {reason: "any object counts", objects: []runtime.Object{role}, want: "ClusterRole actual.vk:vk", without: "ClusterRole"},
		"Range": {
			reason: "a range of services, too", objects: []runtime.Object{cidr}, want: "ServiceCIDR services.vk", without: "ServiceCIDR",
		},
		"Namespace": {
			reason:  "where another's pods run",
			objects: []runtime.Object{namespace("elsewhere")},
			want:    "UID elsewhere",
			without: "elsewhere",
		},
		"Nobody's": {
			reason:  "what does not say whose it is, is not ours",
			objects: []runtime.Object{namespace("")},
			want:    "the name vk is taken in the remote cluster, and no label actual.vk/cluster-uid says by which local cluster: Namespace ",
			without: "no label",
		},
		"Bare": {
			reason:  "nor is what has the name and no label",
			objects: []runtime.Object{bare},
			want:    "ConfigMap actual-system/vk.namespaces",
			without: "ConfigMap",
		},
		"Both": {
			reason:  "what is ours can go, what is not stays",
			objects: []runtime.Object{account("here"), namespace("elsewhere")},
			own:     1,
			want:    "UID elsewhere",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			remote := &kubeclient.Cluster{
				Side:    kubeclient.Remote,
				Client:  fake.NewClientset(tc.objects...),
				Dynamic: dynamicfake.NewSimpleDynamicClient(scheme.Scheme, tc.objects...),
				Mapper:  testrestmapper.TestOnlyStaticRESTMapper(scheme.Scheme),
			}
			claims, err := owner.Find(t.Context(), remote, contract.Owner{Node: "vk", ClusterUID: "here"})
			if err != nil {
				t.Fatal(err)
			}
			if len(claims.Own) != tc.own {
				t.Errorf("%s: %d own objects, want %d", tc.reason, len(claims.Own), tc.own)
			}
			refused(t, tc.reason, claims.Refusal(), tc.want)
			refused(t, tc.reason, claims.RefusalWithoutOwn(), tc.without)
		})
	}
}

func refused(t *testing.T, reason string, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error %v, want %q", reason, err, want)
	}
	if err != nil && len(failure.Hints(err)) == 0 {
		t.Errorf("%s: %v has no hint", reason, err)
	}
}
