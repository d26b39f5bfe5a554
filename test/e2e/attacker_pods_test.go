//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/attacks"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// podAttacks try to run pods that akd would not make, in the attacker's own
// namespace.
func podAttacks(t *testing.T, attacker *env.Tenant) map[string]attack {
	t.Helper()
	// Admission refuses a class that does not exist before the policies do.
	class := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "attacked"}, Handler: "runc"}
	_, err := shared.Remote.NodeV1().RuntimeClasses().Create(t.Context(), class, metav1.CreateOptions{})
	deleteAfter(t, shared, "runtimeclass", class.Name, err)
	tried := map[string]attack{}
	for name, a := range attacks.Pods() {
		tried["create a pod "+name] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			pod := attacks.Pod(attacker.Owner, "home", "mine")
			a.Change(pod)
			_, err := c.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
			return err
		}, a.Wants}
	}
	for name, a := range attacks.PodUpdates() {
		tried["change its pod to one "+name] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			before := attacks.Pod(attacker.Owner, "home", "web")
			pod, err := c.CoreV1().Pods(before.Namespace).Get(ctx, before.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			old := pod.DeepCopy()
			a.Change(pod)
			patch, err := mergePatch(old, pod)
			if err != nil {
				return err
			}
			_, err = c.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		}, a.Wants}
	}
	return tried
}

// mergePatch has the metadata and tolerations of a pod, which are all that the
// attacks change.
func mergePatch(old, pod *corev1.Pod) ([]byte, error) {
	labels := map[string]*string{}
	for key := range old.Labels {
		labels[key] = nil
	}
	for key, value := range pod.Labels {
		labels[key] = &value
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"labels": labels, "finalizers": pod.Finalizers, "ownerReferences": pod.OwnerReferences},
		"spec":     map[string]any{"tolerations": pod.Spec.Tolerations},
	})
}

// objectAttacks try to keep objects from ending, to give them to others, and to
// get identities by Secrets.
func objectAttacks(attacker *env.Tenant) map[string]attack {
	own := contract.RemoteNamespace(attacker.Node, "home")
	creates := map[string]func(context.Context, *kubernetes.Clientset, metav1.ObjectMeta) error{
		"a ConfigMap": func(ctx context.Context, c *kubernetes.Clientset, meta metav1.ObjectMeta) error {
			_, err := c.CoreV1().ConfigMaps(own).Create(ctx, &corev1.ConfigMap{ObjectMeta: meta}, metav1.CreateOptions{})
			return err
		},
		"a Secret": func(ctx context.Context, c *kubernetes.Clientset, meta metav1.ObjectMeta) error {
			_, err := c.CoreV1().Secrets(own).Create(ctx, &corev1.Secret{ObjectMeta: meta}, metav1.CreateOptions{})
			return err
		},
		"a NetworkPolicy": func(ctx context.Context, c *kubernetes.Clientset, meta metav1.ObjectMeta) error {
			_, err := c.NetworkingV1().NetworkPolicies(own).Create(ctx, &networkingv1.NetworkPolicy{ObjectMeta: meta}, metav1.CreateOptions{})
			return err
		},
		"the password": func(ctx context.Context, c *kubernetes.Clientset, meta metav1.ObjectMeta) error {
			meta.Name = "password"
			_, err := c.CoreV1().Secrets(own).Update(ctx, &corev1.Secret{ObjectMeta: meta}, metav1.UpdateOptions{})
			return err
		},
	}
	innocent := func() metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: own, Name: "mine", Labels: attacker.Labels("home", "mine")}
	}
	tried := map[string]attack{}
	for kind, create := range creates {
		for name, a := range attacks.Objects() {
			tried["write "+kind+" "+name] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
				meta := innocent()
				a.Change(&meta)
				return create(ctx, c, meta)
			}, a.Wants}
		}
	}
	for _, kind := range []corev1.SecretType{corev1.SecretTypeServiceAccountToken, "bootstrap.kubernetes.io/token"} {
		tried["write a Secret of type "+string(kind)] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			secret := &corev1.Secret{ObjectMeta: innocent(), Type: kind}
			secret.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
			_, err := c.CoreV1().Secrets(own).Create(ctx, secret, metav1.CreateOptions{})
			return err
		}, "may not make secrets that hold identities"}
	}
	for name, change := range map[string]func(*rbacv1.RoleBinding){
		"that stays": func(b *rbacv1.RoleBinding) { b.Finalizers = []string{"example.org/stays"} },
		"of an owner": func(b *rbacv1.RoleBinding) {
			b.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "web", UID: "x"}}
		},
	} {
		tried["bind its role by a binding "+name] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			binding := env.RoleBinding(attacker.Owner, own, contract.TenantRole)
			binding.Name = "mine"
			change(binding)
			_, err := c.RbacV1().RoleBindings(own).Create(ctx, binding, metav1.CreateOptions{})
			return err
		}, "may not give role bindings finalizers or owners"}
	}
	return tried
}
