package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// The two types below carry every write that akd makes. They share no method,
// so that a write cannot go to the wrong cluster, and their verbs are the RBAC
// in manifests/.

// localCluster reads and writes the cluster where users create pods.
type localCluster struct {
	client kubernetes.Interface
	proxy  kubernetes.Interface // acts as kube-proxy; nil where Services are not mirrored
	node   string
}

// remoteCluster reads and writes the cluster where the containers run.
type remoteCluster struct {
	client kubernetes.Interface
	node   string
}

// pods selects this node's pods of all namespaces; the Node authorizer allows
// no other list.
func (c *localCluster) pods() source {
	return selection("local pods", c.client, c.client.CoreV1().Pods(metav1.NamespaceAll), byField("spec.nodeName", c.node))
}

// self selects this node's Node object.
func (c *localCluster) self() source {
	return selection("local node "+c.node, c.client, c.client.CoreV1().Nodes(), byField(metav1.ObjectNameField, c.node))
}

func (c *localCluster) ownNode(ctx context.Context) (*corev1.Node, error) {
	node, err := c.client.CoreV1().Nodes().Get(ctx, c.node, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read local node %s: %w", c.node, err)
	}
	return node, nil
}

// endpointSlices selects all of them, which is kube-proxy's right and not a
// node's.
func (c *localCluster) endpointSlices() source {
	return selection("local endpointslices", c.proxy, c.proxy.DiscoveryV1().EndpointSlices(metav1.NamespaceAll), everything)
}

func (c *localCluster) services() source {
	return selection("local services", c.client, c.client.CoreV1().Services(metav1.NamespaceAll), everything)
}

// configMap selects one ConfigMap. A node may watch Secrets and ConfigMaps by
// name only, and only those that its pods refer to.
func (c *localCluster) configMap(namespace, name string) source {
	return selection("local configmap "+namespace+"/"+name, c.client, c.client.CoreV1().ConfigMaps(namespace), byField(metav1.ObjectNameField, name))
}

// secret selects one Secret; see configMap.
func (c *localCluster) secret(namespace, name string) source {
	return selection("local secret "+namespace+"/"+name, c.client, c.client.CoreV1().Secrets(namespace), byField(metav1.ObjectNameField, name))
}

// hasPod asks the API server itself whether the pod of that UID still exists:
// what must be known before something is destroyed for want of it. It lists,
// because the Node authorizer answers the get of a pod that does not exist with
// 403 and not with 404: no such pod is bound to the node.
func (c *localCluster) hasPod(ctx context.Context, pod podRef) (bool, error) {
	selector := fields.Set{metav1.ObjectNameField: pod.name, "spec.nodeName": c.node}
	found, err := c.client.CoreV1().Pods(pod.namespace).List(ctx, metav1.ListOptions{FieldSelector: selector.String()})
	if err != nil {
		return false, fmt.Errorf("look for local pod %s/%s: %w", pod.namespace, pod.name, err)
	}
	return slices.ContainsFunc(found.Items, func(p corev1.Pod) bool { return p.UID == pod.uid }), nil
}

// patchStatus applies a patch of translate.StatusPatch.
func (c *localCluster) patchStatus(ctx context.Context, pod podRef, patch []byte) (*corev1.Pod, error) {
	patched, err := c.client.CoreV1().Pods(pod.namespace).
		Patch(ctx, pod.name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return nil, fmt.Errorf("patch status of local pod %s/%s: %w", pod.namespace, pod.name, err)
	}
	return patched, nil
}

// release removes the local pod's record, as a kubelet does once nothing of
// the pod runs any more.
func (c *localCluster) release(ctx context.Context, pod podRef) error {
	err := c.client.CoreV1().Pods(pod.namespace).Delete(ctx, pod.name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0),
		Preconditions:      &metav1.Preconditions{UID: &pod.uid},
	})
	if err != nil && !gone(err) {
		return fmt.Errorf("release local pod %s/%s: %w", pod.namespace, pod.name, err)
	}
	return nil
}

// token asks for a token of the pod's service account that is bound to the pod.
func (c *localCluster) token(ctx context.Context, pod *corev1.Pod, want translate.Token) (*authenticationv1.TokenRequestStatus, error) {
	account := translate.ServiceAccount(pod)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(want.ExpirationSeconds),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if want.Audience != "" {
		request.Spec.Audiences = []string{want.Audience}
	}
	granted, err := briefly(ctx, func() (*authenticationv1.TokenRequest, error) {
		return c.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	})
	if err != nil {
		return nil, fmt.Errorf("request a token of local service account %s/%s: %w", pod.Namespace, account, err)
	}
	return &granted.Status, nil
}

// deleteExactly are the options to delete the object of that UID and no other.
func deleteExactly(uid types.UID) metav1.DeleteOptions {
	return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
}

// gone says that a write found no object, or another one under that name.
// A failed UID precondition is a conflict.
func gone(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsConflict(err)
}

// pods selects all pods of a remote namespace, foreign ones included, so that
// a foreign pod in the way is seen, and seen to go.
func (c *remoteCluster) pods(namespace string) source {
	return selection("remote pods of "+namespace, c.client, c.client.CoreV1().Pods(namespace), everything)
}

func (c *remoteCluster) configMaps(namespace string) source {
	return selection("remote configmaps of "+namespace, c.client, c.client.CoreV1().ConfigMaps(namespace), c.ours)
}

func (c *remoteCluster) secrets(namespace string) source {
	return selection("remote secrets of "+namespace, c.client, c.client.CoreV1().Secrets(namespace), c.ours)
}

func (c *remoteCluster) services(namespace string) source {
	return selection("remote services of "+namespace, c.client, c.client.CoreV1().Services(namespace), c.ours)
}

func (c *remoteCluster) endpointSlices(namespace string) source {
	return selection("remote endpointslices of "+namespace, c.client, c.client.DiscoveryV1().EndpointSlices(namespace), c.ours)
}

// events selects those that are repeated; see scheduled.
func (c *remoteCluster) events(namespace string) source {
	wanted := fields.AndSelectors(fields.OneTermEqualSelector("involvedObject.kind", "Pod"), fields.OneTermNotEqualSelector("reason", scheduled))
	return selection("remote events of "+namespace, c.client, c.client.CoreV1().Events(namespace), func(opts *metav1.ListOptions) {
		opts.FieldSelector = wanted.String()
	})
}

// ours selects what akd created for this node.
func (c *remoteCluster) ours(opts *metav1.ListOptions) {
	opts.LabelSelector = labels.Set{contract.LabelNodeName: c.node}.String()
}

// mapped lists the remote namespaces that carry this node's label: what an
// earlier akd may have left behind.
func (c *remoteCluster) mapped(ctx context.Context) ([]corev1.Namespace, error) {
	var opts metav1.ListOptions
	c.ours(&opts)
	list, err := c.client.CoreV1().Namespaces().List(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("list remote namespaces of node %s: %w", c.node, err)
	}
	return list.Items, nil
}

func (c *remoteCluster) namespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	namespace, err := c.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get remote namespace %s: %w", name, err)
	}
	return namespace, nil
}

func (c *remoteCluster) createNamespace(ctx context.Context, namespace *corev1.Namespace) (*corev1.Namespace, error) {
	created, err := c.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create remote namespace %s: %w", namespace.Name, err)
	}
	return created, nil
}

func (c *remoteCluster) deleteNamespace(ctx context.Context, name string, uid types.UID) error {
	err := c.client.CoreV1().Namespaces().Delete(ctx, name, deleteExactly(uid))
	if err != nil && !gone(err) {
		return fmt.Errorf("delete remote namespace %s: %w", name, err)
	}
	return nil
}

// createRecord makes the record of the node's remote namespaces; see tenant.
func (c *remoteCluster) createRecord(ctx context.Context, recorded map[string]string) error {
	record := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: contract.SystemNamespace, Name: c.recordName(), Labels: map[string]string{contract.LabelNodeName: c.node},
		},
		Data: recorded,
	}
	if _, err := c.client.CoreV1().ConfigMaps(record.Namespace).Create(ctx, record, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create the record of remote namespaces, configmap %s/%s: %w", record.Namespace, record.Name, err)
	}
	return nil
}

// patchRecord sets entries of the record, and removes those that are nil.
func (c *remoteCluster) patchRecord(ctx context.Context, entries map[string]*string) error {
	patch, err := json.Marshal(map[string]any{"data": entries})
	if err != nil {
		return fmt.Errorf("write the record of remote namespaces: %w", err)
	}
	_, err = c.client.CoreV1().ConfigMaps(contract.SystemNamespace).
		Patch(ctx, c.recordName(), types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("write the record of remote namespaces, configmap %s/%s: %w", contract.SystemNamespace, c.recordName(), err)
	}
	return nil
}

// bindRole gives the subject a cluster role in one namespace. One that is there
// already is left as it is: a tenant may change none.
func (c *remoteCluster) bindRole(ctx context.Context, namespace, role string, subject rbacv1.Subject) error {
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role, Labels: map[string]string{contract.LabelNodeName: c.node}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{subject},
	}
	_, err := c.client.RbacV1().RoleBindings(namespace).Create(ctx, binding, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("bind cluster role %s in remote namespace %s: %w", role, namespace, err)
	}
	return nil
}

// createLimits creates what there is none of: a tenant may change none.
func (c *remoteCluster) createLimits(ctx context.Context, limits translate.Limits) error {
	var err error
	if quota := limits.ResourceQuota; quota != nil {
		if _, err = c.client.CoreV1().ResourceQuotas(quota.Namespace).Create(ctx, quota, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create remote resourcequota in %s: %w", quota.Namespace, err)
		}
	}
	if limit := limits.LimitRange; limit != nil {
		if _, err = c.client.CoreV1().LimitRanges(limit.Namespace).Create(ctx, limit, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create remote limitrange in %s: %w", limit.Namespace, err)
		}
	}
	if policy := limits.NetworkPolicy; policy != nil {
		if _, err = c.client.NetworkingV1().NetworkPolicies(policy.Namespace).Create(ctx, policy, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create remote networkpolicy in %s: %w", policy.Namespace, err)
		}
	}
	return nil
}

func (c *remoteCluster) pod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	pod, err := c.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get remote pod %s/%s: %w", namespace, name, err)
	}
	return pod, nil
}

func (c *remoteCluster) createPod(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	created, err := c.client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create remote pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return created, nil
}

func (c *remoteCluster) patchPod(ctx context.Context, pod podRef, patch translate.Patch) (*corev1.Pod, error) {
	var subresources []string
	if patch.Subresource != "" {
		subresources = []string{patch.Subresource}
	}
	patched, err := c.client.CoreV1().Pods(pod.namespace).
		Patch(ctx, pod.name, types.StrategicMergePatchType, patch.Data, metav1.PatchOptions{}, subresources...)
	if err != nil {
		return nil, fmt.Errorf("patch remote pod %s/%s: %w", pod.namespace, pod.name, err)
	}
	return patched, nil
}

// deletePod deletes with the given grace period in seconds, nil for the pod's own.
func (c *remoteCluster) deletePod(ctx context.Context, pod podRef, gracePeriodSeconds *int64) error {
	err := c.client.CoreV1().Pods(pod.namespace).Delete(ctx, pod.name, metav1.DeleteOptions{
		GracePeriodSeconds: gracePeriodSeconds,
		Preconditions:      &metav1.Preconditions{UID: &pod.uid},
	})
	if err != nil && !gone(err) {
		return fmt.Errorf("delete remote pod %s/%s: %w", pod.namespace, pod.name, err)
	}
	return nil
}

// writer writes one kind of mirrored object in the remote cluster.
type writer[T object] struct {
	kind   string
	create func(context.Context, T) (T, error)
	update func(context.Context, T) (T, error)
	remove func(ctx context.Context, namespace, name string, opts metav1.DeleteOptions) error
}

func (c *remoteCluster) configMapWriter() writer[*corev1.ConfigMap] {
	return writer[*corev1.ConfigMap]{
		kind: "configmap",
		create: func(ctx context.Context, m *corev1.ConfigMap) (*corev1.ConfigMap, error) {
			return c.client.CoreV1().ConfigMaps(m.Namespace).Create(ctx, m, metav1.CreateOptions{})
		},
		update: func(ctx context.Context, m *corev1.ConfigMap) (*corev1.ConfigMap, error) {
			return c.client.CoreV1().ConfigMaps(m.Namespace).Update(ctx, m, metav1.UpdateOptions{})
		},
		remove: func(ctx context.Context, namespace, name string, opts metav1.DeleteOptions) error {
			return c.client.CoreV1().ConfigMaps(namespace).Delete(ctx, name, opts)
		},
	}
}

func (c *remoteCluster) secretWriter() writer[*corev1.Secret] {
	return writer[*corev1.Secret]{
		kind: "secret",
		create: func(ctx context.Context, s *corev1.Secret) (*corev1.Secret, error) {
			return c.client.CoreV1().Secrets(s.Namespace).Create(ctx, s, metav1.CreateOptions{})
		},
		update: func(ctx context.Context, s *corev1.Secret) (*corev1.Secret, error) {
			return c.client.CoreV1().Secrets(s.Namespace).Update(ctx, s, metav1.UpdateOptions{})
		},
		remove: func(ctx context.Context, namespace, name string, opts metav1.DeleteOptions) error {
			return c.client.CoreV1().Secrets(namespace).Delete(ctx, name, opts)
		},
	}
}

func (c *remoteCluster) serviceWriter() writer[*corev1.Service] {
	return writer[*corev1.Service]{
		kind: "service",
		create: func(ctx context.Context, s *corev1.Service) (*corev1.Service, error) {
			return c.client.CoreV1().Services(s.Namespace).Create(ctx, s, metav1.CreateOptions{})
		},
		update: func(ctx context.Context, s *corev1.Service) (*corev1.Service, error) {
			return c.client.CoreV1().Services(s.Namespace).Update(ctx, s, metav1.UpdateOptions{})
		},
		remove: func(ctx context.Context, namespace, name string, opts metav1.DeleteOptions) error {
			return c.client.CoreV1().Services(namespace).Delete(ctx, name, opts)
		},
	}
}

func (c *remoteCluster) endpointSliceWriter() writer[*discoveryv1.EndpointSlice] {
	return writer[*discoveryv1.EndpointSlice]{
		kind: "endpointslice",
		create: func(ctx context.Context, s *discoveryv1.EndpointSlice) (*discoveryv1.EndpointSlice, error) {
			return c.client.DiscoveryV1().EndpointSlices(s.Namespace).Create(ctx, s, metav1.CreateOptions{})
		},
		update: func(ctx context.Context, s *discoveryv1.EndpointSlice) (*discoveryv1.EndpointSlice, error) {
			return c.client.DiscoveryV1().EndpointSlices(s.Namespace).Update(ctx, s, metav1.UpdateOptions{})
		},
		remove: func(ctx context.Context, namespace, name string, opts metav1.DeleteOptions) error {
			return c.client.DiscoveryV1().EndpointSlices(namespace).Delete(ctx, name, opts)
		},
	}
}
