//go:build e2e

package e2e

import (
	"context"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/attacks"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// bindingAttacks try to get rights by role bindings, roles and policies.
func bindingAttacks(own, foreign string) map[string]attack {
	bind := func(want, namespace string, change func(*rbacv1.RoleBinding)) attack {
		return attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			binding := env.RoleBinding(shared.Owner(thief), namespace, contract.TenantRole)
			binding.Name = "mine"
			change(binding)
			_, err := c.RbacV1().RoleBindings(namespace).Create(ctx, binding, metav1.CreateOptions{})
			return err
		}, want}
	}
	role := func(kind, name string) func(*rbacv1.RoleBinding) {
		return func(b *rbacv1.RoleBinding) { b.RoleRef.Kind, b.RoleRef.Name = kind, name }
	}
	subject := func(s rbacv1.Subject) func(*rbacv1.RoleBinding) {
		return func(b *rbacv1.RoleBinding) { b.Subjects = append(b.Subjects, s) }
	}
	unchanged := func(*rbacv1.RoleBinding) {}
	const (
		badPlace   = "may create role bindings in its own namespaces only"
		badSubject = "may bind roles to itself only"
		escalation = "attempting to grant RBAC permissions not currently held"
	)
	attacks := map[string]attack{
		// RBAC alone stops these: the policy comes after it.
		"bind cluster-admin": bind(escalation, own, role("ClusterRole", "cluster-admin")),
		"bind edit":          bind(escalation, own, role("ClusterRole", "edit")),
		"bind the node role": bind(escalation, own, role("ClusterRole", "system:node")),
		// Only the policy stops these.
		"bind in the victim's namespace": bind(badPlace, foreign, unchanged),
		"bind in kube-system":            bind(badPlace, "kube-system", unchanged),
		"bind in default":                bind(badPlace, "default", unchanged),
		"bind in actual-system":          bind(badPlace, contract.SystemNamespace, unchanged),
		"bind to everybody": bind(badSubject, own, subject(rbacv1.Subject{
			Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:authenticated",
		})),
		"bind to another user": bind(badSubject, own, subject(rbacv1.Subject{
			Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: thief,
		})),
		"bind to a pod's identity": bind(badSubject, own, subject(rbacv1.Subject{
			Kind: rbacv1.ServiceAccountKind, Namespace: own, Name: "default",
		})),
		"bind to the victim": bind(badSubject, own, subject(rbacv1.Subject{
			Kind: rbacv1.ServiceAccountKind, Namespace: contract.SystemNamespace, Name: victim,
		})),
		"bind in all of the cluster": {func(ctx context.Context, c *kubernetes.Clientset) error {
			narrow := env.RoleBinding(shared.Owner(thief), own, contract.TenantRole)
			wide := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, RoleRef: narrow.RoleRef, Subjects: narrow.Subjects}
			_, err := c.RbacV1().ClusterRoleBindings().Create(ctx, wide, metav1.CreateOptions{})
			return err
		}, `cannot create resource "clusterrolebindings"`},
		"change its binding": {func(ctx context.Context, c *kubernetes.Clientset) error {
			patch := []byte(`{"subjects": []}`)
			_, err := c.RbacV1().RoleBindings(own).Patch(ctx, contract.TenantRole, types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		}, `cannot patch resource "rolebindings"`},
		"make a role": {func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.RbacV1().Roles(own).Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}, metav1.CreateOptions{})
			return err
		}, `cannot create resource "roles"`},
		"widen the tenants' role": {func(ctx context.Context, c *kubernetes.Clientset) error {
			patch := []byte(`{"rules": []}`)
			_, err := c.RbacV1().ClusterRoles().Patch(ctx, contract.TenantRole, types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		}, `cannot patch resource "clusterroles"`},
	}
	policies := map[string]func(context.Context, *kubernetes.Clientset, string) error{
		"validatingadmissionpolicies": func(ctx context.Context, c *kubernetes.Clientset, name string) error {
			return c.AdmissionregistrationV1().ValidatingAdmissionPolicies().Delete(ctx, name, metav1.DeleteOptions{})
		},
		"validatingadmissionpolicybindings": func(ctx context.Context, c *kubernetes.Clientset, name string) error {
			return c.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Delete(ctx, name, metav1.DeleteOptions{})
		},
	}
	for resource, remove := range policies {
		name := contract.PolicyNamespaces
		attacks["remove "+resource] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			return remove(ctx, c, name)
		}, `cannot delete resource "` + resource + `"`}
	}
	attacks["make a webhook"] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
		_, err := c.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx,
			&admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}, metav1.CreateOptions{})
		return err
	}, `cannot create resource "mutatingwebhookconfigurations"`}
	return attacks
}

// identityAttacks try to become somebody else, or to touch others' records.
func identityAttacks(attacker *env.Tenant, own string) map[string]attack {
	const accounts = "system:serviceaccount:" + contract.SystemNamespace + ":"
	mint := func(namespace, account string) attack {
		return attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
			return err
		}, `cannot create resource "serviceaccounts/token"`}
	}
	become := func(user string, groups ...string) attack {
		return attack{func(ctx context.Context, _ *kubernetes.Clientset) error {
			config := rest.CopyConfig(attacker.Config)
			config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
			c, err := kubernetes.NewForConfig(config)
			if err != nil {
				return err
			}
			_, err = c.CoreV1().Namespaces().Get(ctx, own, metav1.GetOptions{})
			return err
		}, "cannot impersonate"}
	}
	record := func(name string) attack {
		return attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: attacker.ObjectLabels()}}
			_, err := c.CoreV1().ConfigMaps(contract.SystemNamespace).Create(ctx, made, metav1.CreateOptions{})
			return err
		}, "beyond them its record alone"}
	}
	return map[string]attack{
		"mint a token for years": {func(ctx context.Context, c *kubernetes.Clientset) error {
			const years = 10 * 365 * 24 * 3600
			request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(years))}}
			_, err := c.CoreV1().ServiceAccounts(contract.SystemNamespace).CreateToken(ctx, thief, request, metav1.CreateOptions{})
			return err
		}, "may request tokens for 24 hours (86400 seconds) at most"},
		"mint a token of the victim":       mint(contract.SystemNamespace, victim),
		"mint a token of a controller":     mint("kube-system", "namespace-controller"),
		"mint a token of a pod's identity": mint(own, "default"),
		"be the victim":                    become(accounts + victim),
		"be a node":                        become("system:node:remote-1", "system:nodes"),
		"be an administrator":              become(accounts+thief, "system:masters"),
		"make a record of another name":    record("mine"),
		// The victim's record without the attacker's name.
		"make a record named as a part of another": record("b.namespaces"),
		"make settings of its own":                 record(thief + ".policy"),
		"change its settings": {func(ctx context.Context, c *kubernetes.Clientset) error {
			patch := []byte(`{"metadata": {"annotations": {"actual.vk/pod-security": "privileged"}}}`)
			_, err := c.CoreV1().ServiceAccounts(contract.SystemNamespace).Patch(ctx, thief, types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		}, `cannot patch resource "serviceaccounts"`},
		"give its record to the victim": {func(ctx context.Context, c *kubernetes.Clientset) error {
			patch := []byte(`{"metadata": {"labels": {"actual.vk/node-name": "thief-b"}}}`)
			_, err := c.CoreV1().ConfigMaps(contract.SystemNamespace).
				Patch(ctx, contract.RecordName(thief), types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		}, "must label what it writes"},
		"keep its record for ever": {func(ctx context.Context, c *kubernetes.Clientset) error {
			patch := []byte(`{"metadata": {"finalizers": ["example.org/stays"]}}`)
			_, err := c.CoreV1().ConfigMaps(contract.SystemNamespace).
				Patch(ctx, contract.RecordName(thief), types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		}, "may not give objects finalizers or owners"},
		"read the victim's record": {func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().ConfigMaps(contract.SystemNamespace).Get(ctx, contract.RecordName(victim), metav1.GetOptions{})
			return err
		}, `cannot get resource "configmaps"`},
		"change the victim's record": {func(ctx context.Context, c *kubernetes.Clientset) error {
			patch := []byte(`{"data": null}`)
			_, err := c.CoreV1().ConfigMaps(contract.SystemNamespace).
				Patch(ctx, contract.RecordName(victim), types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		}, `cannot patch resource "configmaps"`},
		"delete its record": {func(ctx context.Context, c *kubernetes.Clientset) error {
			return c.CoreV1().ConfigMaps(contract.SystemNamespace).Delete(ctx, contract.RecordName(thief), metav1.DeleteOptions{})
		}, `cannot delete resource "configmaps"`},
		"request a client certificate": {func(ctx context.Context, c *kubernetes.Clientset) error {
			request := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}
			_, err := c.CertificatesV1().CertificateSigningRequests().Create(ctx, request, metav1.CreateOptions{})
			return err
		}, `cannot create resource "certificatesigningrequests"`},
		"reach a kubelet": {func(ctx context.Context, c *kubernetes.Clientset) error {
			return c.CoreV1().RESTClient().Get().Resource("nodes").Name("remote-1").SubResource("proxy").Suffix("pods").Do(ctx).Error()
		}, `cannot get resource "nodes/proxy"`},
		"run a privileged pod in its own namespace": {func(ctx context.Context, c *kubernetes.Clientset) error {
			pod := attacks.Pod(attacker.Owner, "home", "root")
			pod.Spec.HostPID = true
			_, err := c.CoreV1().Pods(own).Create(ctx, pod, metav1.CreateOptions{})
			return err
		}, `violates PodSecurity "baseline:latest"`},
	}
}
