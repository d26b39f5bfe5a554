//go:build e2e

package env

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
	"github.com/actual-kubelets/actual-kubelets/test/attacks"
)

// LocalServices is the range of service addresses of the local clusters; see
// test/clusters.
const LocalServices = "10.96.0.0/16"

// Tenant is a node's identity in the remote cluster: its rights and a
// credential.
type Tenant struct {
	// Owner is the node and its local cluster, to whom its objects belong.
	contract.Owner
	// Kubeconfig is the credential as akd reads it.
	Kubeconfig string
	// Config is the credential for tests, and Client a client with it.
	Config *rest.Config
	Client *kubernetes.Clientset
}

// Args are the flags for akd to use the credential. It has no right to list
// nodes, so they set the node's capacity.
func (tn *Tenant) Args(more ...string) []string {
	return append([]string{"--remote-kubeconfig", tn.Kubeconfig, "--node-capacity", "cpu=8,memory=8Gi,pods=50"}, more...)
}

// InstallTenant installs a node's rights in the remote cluster as the manifests
// define them. When the test ends it deletes them and the node's namespaces.
func (e *Env) InstallTenant(t testing.TB, values manifests.Values) *Tenant {
	t.Helper()
	e.ApplyRemote(t, values)
	t.Cleanup(func() {
		selector := contract.LabelNodeName + "=" + values.Node
		kinds := "clusterrolebindings,clusterroles,validatingadmissionpolicybindings,validatingadmissionpolicies,namespaces"
		for _, args := range [][]string{
			{"delete", kinds, "-l", selector},
			{"delete", "serviceaccounts,configmaps,roles,rolebindings", "-n", contract.SystemNamespace, "-l", selector},
		} {
			if out, stderr, err := e.TryKubectl("remote", nil, append(args, "--timeout=3m")...); err != nil {
				t.Errorf("kubectl %v: %v\n%s%s", args, err, out, stderr)
			}
		}
	})
	tn := e.tenant(t, values.Node)
	tn.ClusterUID = types.UID(cmp.Or(values.ClusterUID, e.ClusterUID))
	tn.awaitPolicies(t)
	return tn
}

// awaitPolicies waits until the policies of namespaces and their settings are in
// force; an API server starts to obey them one by one.
func (tn *Tenant) awaitPolicies(t testing.TB) {
	t.Helper()
	foreign := RemoteNamespace(tn.Owner, "nobodys")
	foreign.Labels[contract.LabelClusterUID] = "another"
	for policy, namespace := range map[string]*corev1.Namespace{
		contract.PolicyNamespaces: {ObjectMeta: metav1.ObjectMeta{Name: "nobodys"}},
		contract.PolicySettings:   foreign,
	} {
		Eventually(t, "policy "+policy+" refuses node "+tn.Node, func(ctx context.Context) error {
			_, err := tn.Client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+policy+"'") {
				return fmt.Errorf("a foreign namespace: %w", err)
			}
			return nil
		})
	}
}

// MirroringValues are those of a node that mirrors the local cluster's Services.
func (e *Env) MirroringValues(node string) manifests.Values {
	return manifests.Values{
		Node:           node,
		MirrorServices: true,
		ServiceCIDRs:   []string{LocalServices},
		EndpointCIDRs:  []string{"10.244.0.0/16", "10.245.0.0/16", e.Server + "/32"},
	}
}

// ApplyRemote applies the manifests of the remote side as an administrator,
// without akd, which tests run themselves, and without the range of service
// addresses, which AddServiceRange creates. The node is the local cluster's unless
// the values name another one.
func (e *Env) ApplyRemote(t testing.TB, values manifests.Values) {
	t.Helper()
	values.ClusterUID = cmp.Or(values.ClusterUID, e.ClusterUID)
	objects, err := manifests.Remote(values)
	if err != nil {
		t.Fatal(err)
	}
	e.applyInstalled(t, "remote", slices.DeleteFunc(objects, func(object *unstructured.Unstructured) bool {
		return object.GetKind() == "Deployment" || object.GetKind() == "ServiceCIDR"
	}))
}

// tenant requests a token for the node's service account.
func (e *Env) tenant(t testing.TB, node string) *Tenant {
	t.Helper()
	token := newToken(t, e.Remote, node, time.Hour)
	file := filepath.Join(t.TempDir(), node+".kubeconfig")
	if err := clientcmd.WriteToFile(*withToken(loadKubeconfig(t, e.AKDKubeconfig("remote")), token), file); err != nil {
		t.Fatal(err)
	}
	config := e.bearer(t, "remote", token)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &Tenant{Owner: e.Owner(node), Kubeconfig: file, Config: config, Client: client}
}

// AddServiceRange lets a node's remote Services have addresses of a range, as
// an administrator does once. The range is deleted after the Services.
func (e *Env) AddServiceRange(t testing.TB, addresses, node string) {
	t.Helper()
	cidr := &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: manifests.ServiceRange(node)},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: []string{addresses}},
	}
	if _, err := e.Remote.NetworkingV1().ServiceCIDRs().Create(t.Context(), cidr, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		selector := contract.LabelNodeName + "=" + node
		_, _, _ = e.TryKubectl("remote", nil, "delete", "namespaces", "-l", selector, "--wait=true", "--timeout=3m")
		if out, stderr, err := e.TryKubectl("remote", nil, "delete", "servicecidr", cidr.Name, "--timeout=3m"); err != nil {
			t.Errorf("delete servicecidr: %v\n%s%s", err, out, stderr)
		}
	})
	Eventually(t, "the range of service addresses is ready", func(ctx context.Context) error {
		found, err := e.Remote.NetworkingV1().ServiceCIDRs().Get(ctx, cidr.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range found.Status.Conditions {
			if condition.Type == networkingv1.ServiceCIDRConditionReady && condition.Status == metav1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("conditions %v", found.Status.Conditions)
	})
}

// Settle enters the tenant's namespace for a local one with the tenant's own
// credential, creates a Secret and a pod there, and returns its name. It binds the
// optional roles, too.
func (tn *Tenant) Settle(t testing.TB, local string, roles ...string) string {
	t.Helper()
	namespace := RemoteNamespace(tn.Owner, local)
	tn.Enter(t, namespace, roles...)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "password", Labels: tn.Labels(local, "password")},
		StringData: map[string]string{"password": "of " + tn.Node},
	}
	if _, err := tn.Client.CoreV1().Secrets(namespace.Name).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := attacks.Pod(tn.Owner, local, "web")
	if _, err := tn.Client.CoreV1().Pods(namespace.Name).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "the pod of "+tn.Node+" runs", func(ctx context.Context) error {
		pod, err := tn.Client.CoreV1().Pods(namespace.Name).Get(ctx, "web", metav1.GetOptions{})
		if err == nil && pod.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("it is %s", pod.Status.Phase)
		}
		return err
	})
	return namespace.Name
}

// Enter creates a namespace of the tenant with the tenant's own credential, and
// waits until its rights there are in force.
func (tn *Tenant) Enter(t testing.TB, namespace *corev1.Namespace, roles ...string) {
	t.Helper()
	if _, err := tn.Client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, role := range append(roles, contract.TenantRole) {
		binding := RoleBinding(tn.Owner, namespace.Name, role)
		if _, err := tn.Client.RbacV1().RoleBindings(namespace.Name).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	Eventually(t, "the rights of "+tn.Node+" in "+namespace.Name, func(ctx context.Context) error {
		_, err := tn.Client.CoreV1().Secrets(namespace.Name).List(ctx, metav1.ListOptions{})
		return err
	})
}

// Owner is whom the remote objects of a node belong to.
func (e *Env) Owner(node string) contract.Owner {
	return contract.Owner{Node: node, ClusterUID: types.UID(e.ClusterUID)}
}

// RemoteNamespace is the namespace that akd of a node creates for a local one.
func RemoteNamespace(owner contract.Owner, local string) *corev1.Namespace {
	mapper := &translate.Mapper{Owner: owner, PodSecurity: "baseline"}
	return mapper.In(contract.RemoteNamespace(owner.Node, local)).Namespace(local)
}

// RoleBinding is the one by which akd of a node binds a role to itself in a
// namespace.
func RoleBinding(owner contract.Owner, namespace, role string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role, Labels: owner.ObjectLabels()},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: contract.SystemNamespace, Name: owner.Node}},
	}
}
