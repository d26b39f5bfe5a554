//go:build e2e

package e2e

import (
	"context"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

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

// contentAttacks are on the content of namespaces that are not the attacker's.
func contentAttacks(foreign string) map[string]attack {
	attacks := map[string]attack{}
	for _, namespace := range []string{foreign, "kube-system", "default", contract.SystemNamespace} {
		add := func(name, want string, try attempt) {
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
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}
			_, err := c.CoreV1().Secrets(namespace).Create(ctx, secret, metav1.CreateOptions{})
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

// namespaceAttacks try to get a namespace that the attacker must not have, or
// one with less protection.
func namespaceAttacks(own, foreign string) map[string]attack {
	create := func(want string, change func(*corev1.Namespace)) attack {
		return attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			namespace := env.RemoteNamespace(shared.Owner(thief), "attack")
			change(namespace)
			_, err := c.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
			return err
		}, want}
	}
	remove := func(name string) attack {
		return attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			return c.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
		}, "akd may create and delete namespaces of its own node only"}
	}
	const (
		badName  = "they are named by the node, a dash and a hash"
		badNode  = "akd may create and delete namespaces of its own node only"
		badUID   = "their label actual.vk/cluster-uid is its UID"
		stays    = "may not give a namespace finalizers or owners"
		badLevel = "that enforce one of the Pod Security levels baseline, restricted"
		more     = "with the installed labels and annotations only, not with label team"
		reserved = "labels and annotations of actual.vk, kubernetes.io and k8s.io on a namespace but those that it needs"
		enforce  = "pod-security.kubernetes.io/enforce"
	)
	attacks := map[string]attack{
		"create a namespace outside its prefix": create(badName, func(n *corev1.Namespace) { n.Name = "kube-mine" }),
		"create a namespace under the victim's prefix": create(badName, func(n *corev1.Namespace) {
			n.Name = contract.RemoteNamespace(victim, "attack")
		}),
		"create a namespace with too long a hash":    create(badName, func(n *corev1.Namespace) { n.Name = "thief-0123456789abcdef0" }),
		"create a namespace with too short a hash":   create(badName, func(n *corev1.Namespace) { n.Name = "thief-deadbee" }),
		"create a namespace named as the victim":     create(badName, func(n *corev1.Namespace) { n.Name = victim }),
		"create a namespace with a dash in its hash": create(badName, func(n *corev1.Namespace) { n.Name = "thief-cafe-beef" }),
		"create a namespace of a generated name":     create(badName, func(n *corev1.Namespace) { n.GenerateName, n.Name = "thief-b", "" }),
		"create a namespace with the victim's label": create(badNode, func(n *corev1.Namespace) { n.Labels[contract.LabelNodeName] = victim }),
		"create a namespace without a label":         create(badNode, func(n *corev1.Namespace) { n.Labels = nil }),
		"create a namespace of another cluster": create(badUID, func(n *corev1.Namespace) {
			n.Labels[contract.LabelClusterUID] = "another"
		}),
		"create a namespace of no cluster":   create(badUID, func(n *corev1.Namespace) { delete(n.Labels, contract.LabelClusterUID) }),
		"create a namespace that never ends": create(stays, func(n *corev1.Namespace) { n.Finalizers = []string{"example.org/stays"} }),
		"create a namespace whose content never ends": create(stays, func(n *corev1.Namespace) {
			n.Spec.Finalizers = []corev1.FinalizerName{"example.org/stays"}
		}),
		"create a namespace with an owner": create(stays, func(n *corev1.Namespace) {
			n.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "remote-1", UID: "x"}}
		}),
		"create a namespace with another's label":     create(more, func(n *corev1.Namespace) { n.Labels["team"] = "payments" }),
		"create a namespace with weak Pod Security":   create(badLevel, func(n *corev1.Namespace) { n.Labels[enforce] = "privileged" }),
		"create a namespace without Pod Security":     create(badLevel, func(n *corev1.Namespace) { delete(n.Labels, enforce) }),
		"create a namespace with an old Pod Security": create(reserved, func(n *corev1.Namespace) { n.Labels[enforce+"-version"] = "v1.0" }),
		"create a namespace with an annotation": create("annotations only, not with annotation openshift.io/node-selector",
			func(n *corev1.Namespace) { n.Annotations = map[string]string{"openshift.io/node-selector": ""} }),
		"create a namespace with a selector of nodes": create(reserved, func(n *corev1.Namespace) {
			n.Annotations = map[string]string{"scheduler.alpha.kubernetes.io/node-selector": "a=b"}
		}),
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
			bare := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
			_, err := c.CoreV1().Namespaces().Update(ctx, bare, metav1.UpdateOptions{})
			return err
		}, `cannot update resource "namespaces"`}
		attacks["finalize "+name+" namespace"] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			bare := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
			_, err := c.CoreV1().Namespaces().Finalize(ctx, bare, metav1.UpdateOptions{})
			return err
		}, `cannot update resource "namespaces/finalize"`}
	}
	return attacks
}

// networkAttacks are on the traffic of others; TestAttackerServices has those by
// Services.
func networkAttacks(foreign string) map[string]attack {
	attacks := map[string]attack{}
	for _, namespace := range []string{foreign, "kube-system"} {
		attacks["cut off "+namespace] = attack{func(ctx context.Context, c *kubernetes.Clientset) error {
			policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}
			policy.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
			_, err := c.NetworkingV1().NetworkPolicies(namespace).Create(ctx, policy, metav1.CreateOptions{})
			return err
		}, "may write in its own namespaces only"}
	}
	return attacks
}
