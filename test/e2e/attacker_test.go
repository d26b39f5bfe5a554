//go:build e2e

package e2e

import (
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// The attacker has the remote token of node thief, and nothing else. The
// victim is node thief-b: its name begins with the attacker's.
const (
	thief  = "thief"
	victim = "thief-b"
)

// attack is one thing that the attacker tries. Only by the server's own words
// is it known that it was refused for the right reason.
type attack struct {
	try  func(context.Context, *kubernetes.Clientset) error
	want string
}

// A stolen remote credential of one node is worth that node's own namespaces
// and nothing beyond them.
func TestAttacker(t *testing.T) {
	e := shared
	attacker := e.InstallTenant(t, manifests.Values{Node: thief, Limits: manifests.Limits{NetworkPolicy: true}})
	attacked := e.InstallTenant(t, manifests.Values{Node: victim})
	own, foreign := attacker.Settle(t, "home"), attacked.Settle(t, "home")
	if err := execRemote(t.Context(), attacked.Config, foreign); err != nil {
		t.Fatalf("the victim itself: %v", err)
	}
	if err := execRemote(t.Context(), attacker.Config, own); err != nil {
		t.Fatalf("the attacker in its own namespace: %v", err)
	}

	attacks := map[string]attack{}
	maps.Copy(attacks, contentAttacks(foreign))
	maps.Copy(attacks, namespaceAttacks(own, foreign))
	maps.Copy(attacks, bindingAttacks(own, foreign))
	maps.Copy(attacks, identityAttacks(attacker, own))
	maps.Copy(attacks, networkAttacks(foreign))
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			err := a.try(t.Context(), attacker.Client)
			switch {
			case err == nil:
				t.Error("it worked")
			case !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), a.want):
				t.Errorf("it was refused for another reason: %v\nwant 403 with %q", err, a.want)
			}
		})
	}
}

// execRemote runs a command in the pod web of a namespace.
func execRemote(ctx context.Context, config *rest.Config, namespace string) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	executor, err := remotecommand.NewSPDYExecutor(config, http.MethodPost, execRequest(client, namespace).URL())
	if err != nil {
		return err
	}
	return executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: io.Discard})
}

func execRequest(c *kubernetes.Clientset, namespace string) *rest.Request {
	return c.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").Name("web").SubResource("exec").
		Param("command", "true").Param("stdout", "true")
}

// contentAttacks are on what is in namespaces that are not the attacker's.
func contentAttacks(foreign string) map[string]attack {
	attacks := map[string]attack{}
	for _, namespace := range []string{foreign, "kube-system", "default", contract.SystemNamespace} {
		add := func(name, want string, try func(context.Context, *kubernetes.Clientset) error) {
			attacks[name+" in "+namespace] = attack{try, want}
		}
		add("read a Secret", `cannot get resource "secrets"`, func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().Secrets(namespace).Get(ctx, "password", metav1.GetOptions{})
			return err
		})
		add("list Secrets", `cannot list resource "secrets"`, func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{})
			return err
		})
		add("watch Secrets", `cannot watch resource "secrets"`, func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().Secrets(namespace).Watch(ctx, metav1.ListOptions{})
			return err
		})
		add("write a Secret", `cannot create resource "secrets"`, func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}, metav1.CreateOptions{})
			return err
		})
		add("list ConfigMaps", `cannot list resource "configmaps"`, func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
			return err
		})
		add("list pods", `cannot list resource "pods"`, func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
			return err
		})
		add("create a pod", `cannot create resource "pods"`, func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().Pods(namespace).Create(ctx, env.IdlePod("mine"), metav1.CreateOptions{})
			return err
		})
		add("delete a pod", `cannot delete resource "pods"`, func(ctx context.Context, c *kubernetes.Clientset) error {
			return c.CoreV1().Pods(namespace).Delete(ctx, "web", metav1.DeleteOptions{})
		})
		add("exec", `cannot create resource "pods/exec"`, func(ctx context.Context, c *kubernetes.Clientset) error {
			return execRequest(c, namespace).Do(ctx).Error()
		})
		add("read logs", `cannot get resource "pods/log"`, func(ctx context.Context, c *kubernetes.Clientset) error {
			return c.CoreV1().Pods(namespace).GetLogs("web", &corev1.PodLogOptions{}).Do(ctx).Error()
		})
	}
	everywhere := func(resource string) attack {
		return attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			return c.CoreV1().RESTClient().Get().Resource(resource).Do(ctx).Error()
		}, `cannot list resource "` + resource + `"`}
	}
	for _, resource := range []string{"secrets", "pods", "configmaps", "namespaces", "nodes", "serviceaccounts"} {
		attacks["list "+resource+" of the cluster"] = everywhere(resource)
	}
	return attacks
}

// namespaceAttacks try to get a namespace that they should not have, or one
// with less protection.
func namespaceAttacks(own, foreign string) map[string]attack {
	create := func(want string, change func(*corev1.Namespace)) attack {
		return attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			namespace := env.RemoteNamespace(thief, "attack")
			change(namespace)
			_, err := c.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
			return err
		}, want}
	}
	remove := func(name string) attack {
		return attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			return c.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
		}, "akd of node thief may create and delete namespaces"}
	}
	const (
		badName  = "namespaces named thief- and a hash only"
		badLabel = "namespaces with label actual.vk/node-name: thief only"
		level    = "enforce Pod Security level baseline or a stronger one only"
		enforce  = "pod-security.kubernetes.io/enforce"
	)
	attacks := map[string]attack{
		"create a namespace outside its prefix":         create(badName, func(n *corev1.Namespace) { n.Name = "kube-mine" }),
		"create a namespace under the victim's prefix":  create(badName, func(n *corev1.Namespace) { n.Name = contract.RemoteNamespace(victim, "attack") }),
		"create a namespace with too long a hash":       create(badName, func(n *corev1.Namespace) { n.Name = "thief-0123456789abcdef0" }),
		"create a namespace with too short a hash":      create(badName, func(n *corev1.Namespace) { n.Name = "thief-deadbee" }),
		"create a namespace named as the victim":        create(badName, func(n *corev1.Namespace) { n.Name = victim }),
		"create a namespace with capital words":         create(badName, func(n *corev1.Namespace) { n.Name = "thief-cafe-beef" }),
		"create a namespace of a generated name":        create(badName, func(n *corev1.Namespace) { n.GenerateName, n.Name = "thief-b", "" }),
		"create a namespace with the victim's label":    create(badLabel, func(n *corev1.Namespace) { n.Labels[contract.LabelNodeName] = victim }),
		"create a namespace without a label":            create(badLabel, func(n *corev1.Namespace) { n.Labels = nil }),
		"create a namespace with another's label":       create("may label a namespace with", func(n *corev1.Namespace) { n.Labels["team"] = "payments" }),
		"create a namespace with an annotation":         create("may annotate a namespace with", func(n *corev1.Namespace) { n.Annotations["scheduler.alpha.kubernetes.io/node-selector"] = "a=b" }),
		"create a namespace with weak Pod Security":     create(level, func(n *corev1.Namespace) { n.Labels[enforce] = "privileged" }),
		"create a namespace without Pod Security":       create(level, func(n *corev1.Namespace) { delete(n.Labels, enforce) }),
		"create a namespace with Pod Security's past":   create("may label a namespace with", func(n *corev1.Namespace) { n.Labels[enforce+"-version"] = "v1.0" }),
		"delete the victim's namespace":                 remove(foreign),
		"delete kube-node-lease":                        remove("kube-node-lease"),
		"delete the namespace of the installed objects": remove(contract.SystemNamespace),
		"delete all namespaces": {func(ctx context.Context, c *kubernetes.Clientset) error {
			return c.CoreV1().RESTClient().Delete().Resource("namespaces").Do(ctx).Error()
		}, "cannot deletecollection resource"},
	}
	for name, namespace := range map[string]string{"its own": own, "the victim's": foreign} {
		attacks["relabel "+name+" namespace"] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			patch := []byte(`{"metadata": {"labels": {"actual.vk/node-name": "thief", "pod-security.kubernetes.io/enforce": "privileged"}}}`)
			_, err := c.CoreV1().Namespaces().Patch(ctx, namespace, types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		}, `cannot patch resource "namespaces"`}
		attacks["replace "+name+" namespace"] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().Namespaces().Update(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.UpdateOptions{})
			return err
		}, `cannot update resource "namespaces"`}
		attacks["finalize "+name+" namespace"] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().Namespaces().Finalize(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.UpdateOptions{})
			return err
		}, `cannot update resource "namespaces/finalize"`}
	}
	return attacks
}

// bindingAttacks try to get rights by role bindings, roles and policies.
func bindingAttacks(own, foreign string) map[string]attack {
	bind := func(want, namespace string, change func(*rbacv1.RoleBinding)) attack {
		return attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			binding := env.RoleBinding(thief, namespace, contract.TenantRole)
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
	same := func(*rbacv1.RoleBinding) {}
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
		"bind in the victim's namespace": bind(badPlace, foreign, same),
		"bind in kube-system":            bind(badPlace, "kube-system", same),
		"bind in default":                bind(badPlace, "default", same),
		"bind in actual-system":          bind(badPlace, contract.SystemNamespace, same),
		"bind to everybody":              bind(badSubject, own, subject(rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:authenticated"})),
		"bind to another user":           bind(badSubject, own, subject(rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: thief})),
		"bind to a pod's identity":       bind(badSubject, own, subject(rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: own, Name: "default"})),
		"bind to the victim": bind(badSubject, own, subject(rbacv1.Subject{
			Kind: rbacv1.ServiceAccountKind, Namespace: contract.SystemNamespace, Name: victim,
		})),
		"bind in all of the cluster": {func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: "mine"}, RoleRef: env.RoleBinding(thief, own, contract.TenantRole).RoleRef, Subjects: env.RoleBinding(thief, own, contract.TenantRole).Subjects,
			}, metav1.CreateOptions{})
			return err
		}, `cannot create resource "clusterrolebindings"`},
		"change its binding": {func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.RbacV1().RoleBindings(own).Patch(ctx, contract.TenantRole, types.MergePatchType, []byte(`{"subjects": []}`), metav1.PatchOptions{})
			return err
		}, `cannot patch resource "rolebindings"`},
		"make a role": {func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.RbacV1().Roles(own).Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}, metav1.CreateOptions{})
			return err
		}, `cannot create resource "roles"`},
		"widen the tenants' role": {func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.RbacV1().ClusterRoles().Patch(ctx, contract.TenantRole, types.MergePatchType, []byte(`{"rules": []}`), metav1.PatchOptions{})
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
		attacks["remove its own "+resource] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			return remove(ctx, c, "namespaces.thief.actual.vk")
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
	mint := func(namespace, account string) attack {
		return attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
			return err
		}, `cannot create resource "serviceaccounts/token"`}
	}
	become := func(who rest.ImpersonationConfig, want string) attack {
		return attack{func(ctx context.Context, _ *kubernetes.Clientset) error {
			config := rest.CopyConfig(attacker.Config)
			config.Impersonate = who
			c, err := kubernetes.NewForConfig(config)
			if err != nil {
				return err
			}
			_, err = c.CoreV1().Namespaces().Get(ctx, own, metav1.GetOptions{})
			return err
		}, want}
	}
	record := func(name string) attack {
		return attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().ConfigMaps(contract.SystemNamespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
			return err
		}, "beyond them its record alone"}
	}
	return map[string]attack{
		"mint a token for years": {func(ctx context.Context, c *kubernetes.Clientset) error {
			years := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(10 * 365 * 24 * 3600))}}
			_, err := c.CoreV1().ServiceAccounts(contract.SystemNamespace).CreateToken(ctx, thief, years, metav1.CreateOptions{})
			return err
		}, "may request tokens for 24 hours (86400 seconds) at most"},
		"mint a token of the victim":                   mint(contract.SystemNamespace, victim),
		"mint a token of a controller":                 mint("kube-system", "namespace-controller"),
		"mint a token of a pod's identity":             mint(own, "default"),
		"be the victim":                                become(rest.ImpersonationConfig{UserName: "system:serviceaccount:" + contract.SystemNamespace + ":" + victim}, "cannot impersonate"),
		"be a node":                                    become(rest.ImpersonationConfig{UserName: "system:node:remote-1", Groups: []string{"system:nodes"}}, "cannot impersonate"),
		"be an administrator":                          become(rest.ImpersonationConfig{UserName: attackerUser, Groups: []string{"system:masters"}}, "cannot impersonate"),
		"make a record of another name":                record("mine"),
		"make the record of a node whose name it ends": record("e.namespaces"),
		"read the victim's record": {func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().ConfigMaps(contract.SystemNamespace).Get(ctx, contract.RecordName(victim), metav1.GetOptions{})
			return err
		}, `cannot get resource "configmaps"`},
		"change the victim's record": {func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CoreV1().ConfigMaps(contract.SystemNamespace).Patch(ctx, contract.RecordName(victim), types.MergePatchType, []byte(`{"data": null}`), metav1.PatchOptions{})
			return err
		}, `cannot patch resource "configmaps"`},
		"delete its record": {func(ctx context.Context, c *kubernetes.Clientset) error {
			return c.CoreV1().ConfigMaps(contract.SystemNamespace).Delete(ctx, contract.RecordName(thief), metav1.DeleteOptions{})
		}, `cannot delete resource "configmaps"`},
		"ask for a client certificate": {func(ctx context.Context, c *kubernetes.Clientset) error {
			_, err := c.CertificatesV1().CertificateSigningRequests().Create(ctx, &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}, metav1.CreateOptions{})
			return err
		}, `cannot create resource "certificatesigningrequests"`},
		"reach a kubelet": {func(ctx context.Context, c *kubernetes.Clientset) error {
			return c.CoreV1().RESTClient().Get().Resource("nodes").Name("remote-1").SubResource("proxy").Suffix("pods").Do(ctx).Error()
		}, `cannot get resource "nodes/proxy"`},
		"a privileged pod at home": {func(ctx context.Context, c *kubernetes.Clientset) error {
			pod := env.IdlePod("root")
			pod.Spec.HostPID = true
			_, err := c.CoreV1().Pods(own).Create(ctx, pod, metav1.CreateOptions{})
			return err
		}, `violates PodSecurity "baseline:latest"`},
	}
}

// networkAttacks try to get others' traffic; Services are TestAttackerServices'.
func networkAttacks(foreign string) map[string]attack {
	attacks := map[string]attack{}
	for _, namespace := range []string{foreign, "kube-system"} {
		attacks["cut off "+namespace] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}
			policy.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
			_, err := c.NetworkingV1().NetworkPolicies(namespace).Create(ctx, policy, metav1.CreateOptions{})
			return err
		}, "in its own namespaces only"}
	}
	return attacks
}

const attackerUser = "system:serviceaccount:" + contract.SystemNamespace + ":" + thief
