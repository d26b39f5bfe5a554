package cluster

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

const kindPod = "Pod"

// Remote reads and writes the cluster where the containers run.
type Remote struct {
	client kubernetes.Interface
	owner  contract.Owner
	time   *store.Timeline
}

// NewRemote returns the remote cluster of a node of a local cluster.
func NewRemote(client kubernetes.Interface, owner contract.Owner) *Remote {
	return &Remote{client: client, owner: owner, time: store.NewTimeline()}
}

// Timeline tells when the remote cluster has gone back in time.
func (c *Remote) Timeline() *store.Timeline { return c.time }

func (c *Remote) server() store.Server { return store.Server{Client: c.client, Timeline: c.time} }

// Pods selects all pods of a remote namespace, including foreign ones, so that
// akd notices when a foreign pod blocks a name, and when it is deleted.
func (c *Remote) Pods(namespace string) store.ListWatch {
	return store.NewListWatch("remote pods of "+namespace, c.server(), c.client.CoreV1().Pods(namespace), store.Everything)
}

// ConfigMaps selects the ConfigMaps of a namespace that akd created for this
// node.
func (c *Remote) ConfigMaps(namespace string) store.ListWatch {
	return store.NewListWatch("remote configmaps of "+namespace, c.server(), c.client.CoreV1().ConfigMaps(namespace), c.ours)
}

// Secrets selects the Secrets of a namespace that akd created for this node.
func (c *Remote) Secrets(namespace string) store.ListWatch {
	return store.NewListWatch("remote secrets of "+namespace, c.server(), c.client.CoreV1().Secrets(namespace), c.ours)
}

// HasForeignConfigMap asks the API server itself whether a namespace has a ConfigMap of
// that name that akd has not created. It lists, because a tenant may not get.
func (c *Remote) HasForeignConfigMap(ctx context.Context, namespace, name string) (bool, error) {
	found, err := c.client.CoreV1().ConfigMaps(namespace).List(ctx, named(name))
	if err != nil {
		return false, fmt.Errorf("look for remote configmap %s/%s: %w", namespace, name, err)
	}
	return slices.ContainsFunc(found.Items, func(one corev1.ConfigMap) bool { return c.isForeign(&one, name) }), nil
}

// HasForeignSecret does the same for a Secret.
func (c *Remote) HasForeignSecret(ctx context.Context, namespace, name string) (bool, error) {
	found, err := c.client.CoreV1().Secrets(namespace).List(ctx, named(name))
	if err != nil {
		return false, fmt.Errorf("look for remote secret %s/%s: %w", namespace, name, err)
	}
	return slices.ContainsFunc(found.Items, func(one corev1.Secret) bool { return c.isForeign(&one, name) }), nil
}

// isForeign reports whether an object of that name is not akd's.
func (c *Remote) isForeign(object metav1.Object, name string) bool {
	ours := labels.SelectorFromSet(c.owner.ObjectLabels())
	return object.GetName() == name && !ours.Matches(labels.Set(object.GetLabels()))
}

// Services selects the Services of a namespace that akd created for this node.
func (c *Remote) Services(namespace string) store.ListWatch {
	return store.NewListWatch("remote services of "+namespace, c.server(), c.client.CoreV1().Services(namespace), c.ours)
}

// EndpointSlices selects the EndpointSlices of a namespace that akd created for
// this node.
func (c *Remote) EndpointSlices(namespace string) store.ListWatch {
	return store.NewListWatch("remote endpointslices of "+namespace, c.server(), c.client.DiscoveryV1().EndpointSlices(namespace), c.ours)
}

// DisruptionBudgets selects the PodDisruptionBudgets of a namespace that akd created for
// this node.
func (c *Remote) DisruptionBudgets(namespace string) store.ListWatch {
	budgets := c.client.PolicyV1().PodDisruptionBudgets(namespace)
	return store.NewListWatch("remote poddisruptionbudgets of "+namespace, c.server(), budgets, c.ours)
}

// ListDisruptionBudgets lists what DisruptionBudgets selects.
func (c *Remote) ListDisruptionBudgets(ctx context.Context, namespace string) ([]policyv1.PodDisruptionBudget, error) {
	var opts metav1.ListOptions
	c.ours(&opts)
	list, err := c.client.PolicyV1().PodDisruptionBudgets(namespace).List(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("list remote poddisruptionbudgets of %s: %w", namespace, err)
	}
	return list.Items, nil
}

// Events selects the events that akd repeats; see contract.ReasonScheduled. They are about
// pods, or about any object: one watch cannot select those about pods and claims.
func (c *Remote) Events(namespace string, aboutAll bool) store.ListWatch {
	wanted := fields.OneTermNotEqualSelector("reason", contract.ReasonScheduled)
	if !aboutAll {
		wanted = fields.AndSelectors(fields.OneTermEqualSelector("involvedObject.kind", kindPod), wanted)
	}
	return store.NewListWatch("remote events of "+namespace, c.server(), c.client.CoreV1().Events(namespace), func(opts *metav1.ListOptions) {
		opts.FieldSelector = wanted.String()
	})
}

// ours selects the objects that akd created for this node.
func (c *Remote) ours(opts *metav1.ListOptions) {
	opts.LabelSelector = labels.Set(c.owner.ObjectLabels()).String()
}

// named selects the object of that name.
func named(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()}
}

// ListMappedNamespaces lists the remote namespaces with this node's label, of
// whichever local cluster. An earlier akd may have left some behind.
func (c *Remote) ListMappedNamespaces(ctx context.Context) ([]corev1.Namespace, error) {
	opts := metav1.ListOptions{LabelSelector: labels.Set{contract.LabelNodeName: c.owner.Node}.String()}
	list, err := c.client.CoreV1().Namespaces().List(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("list remote namespaces of node %s: %w", c.owner.Node, err)
	}
	return list.Items, nil
}

// GetNamespace reads a namespace from the API server, not from a cache.
func (c *Remote) GetNamespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	namespace, err := c.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get remote namespace %s: %w", name, err)
	}
	return namespace, nil
}

// CreateNamespace creates a namespace and returns it as stored. If admission denies it,
// the error also says how to give it the labels and annotations that may be demanded.
func (c *Remote) CreateNamespace(ctx context.Context, namespace *corev1.Namespace) (*corev1.Namespace, error) {
	created, err := c.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if deniedByAdmission(err) {
		return nil, fmt.Errorf("create remote namespace %s: %w; "+
			"kubectl actual install --namespace-label and --namespace-annotation give it the labels and annotations that the remote cluster demands",
			namespace.Name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("create remote namespace %s: %w", namespace.Name, err)
	}
	return created, nil
}

// DeleteNamespace deletes the namespace with the given UID and no other. It
// returns nil if that namespace no longer exists.
func (c *Remote) DeleteNamespace(ctx context.Context, name string, uid types.UID) error {
	err := c.client.CoreV1().Namespaces().Delete(ctx, name, deleteExactly(uid))
	if err != nil && !IsNotFoundOrConflict(err) {
		return fmt.Errorf("delete remote namespace %s: %w", name, err)
	}
	return nil
}

// MarkDeletion marks a namespace whose deletion is requested next.
func (c *Remote) MarkDeletion(ctx context.Context, namespace string) error {
	mark := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: contract.DeletionMark, Labels: c.owner.ObjectLabels(),
	}}
	_, err := c.client.CoreV1().ConfigMaps(namespace).Create(ctx, mark, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("mark remote namespace %s before it is deleted: %w", namespace, err)
	}
	return nil
}

// IsMarked asks the API server itself whether a namespace has the mark of MarkDeletion. It
// lists, because a tenant may not get.
func (c *Remote) IsMarked(ctx context.Context, namespace string) (bool, error) {
	found, err := c.client.CoreV1().ConfigMaps(namespace).List(ctx, named(contract.DeletionMark))
	if err != nil {
		return false, fmt.Errorf("look for the mark of a deletion in remote namespace %s: %w", namespace, err)
	}
	return slices.ContainsFunc(found.Items, func(one corev1.ConfigMap) bool {
		return one.Name == contract.DeletionMark && !c.isForeign(&one, one.Name)
	}), nil
}

// CreateLimits creates the limits that do not exist yet. It updates none: a
// tenant may not change them.
func (c *Remote) CreateLimits(ctx context.Context, limits translate.Limits) error {
	if quota := limits.ResourceQuota; quota != nil {
		_, err := c.client.CoreV1().ResourceQuotas(quota.Namespace).Create(ctx, quota, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create remote resourcequota in %s: %w", quota.Namespace, err)
		}
	}
	if limit := limits.LimitRange; limit != nil {
		_, err := c.client.CoreV1().LimitRanges(limit.Namespace).Create(ctx, limit, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create remote limitrange in %s: %w", limit.Namespace, err)
		}
	}
	if policy := limits.NetworkPolicy; policy != nil {
		_, err := c.client.NetworkingV1().NetworkPolicies(policy.Namespace).Create(ctx, policy, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create remote networkpolicy in %s: %w", policy.Namespace, err)
		}
	}
	return nil
}

// GetPod reads a pod from the API server, not from a cache.
func (c *Remote) GetPod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	pod, err := c.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get remote pod %s/%s: %w", namespace, name, err)
	}
	return pod, nil
}

// HasPods reports whether a namespace has any pod, by what the API server itself knows now.
func (c *Remote) HasPods(ctx context.Context, namespace string) (bool, error) {
	pods, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return false, fmt.Errorf("list pods in remote namespace %s: %w", namespace, err)
	}
	return len(pods.Items) > 0, nil
}

// CountClaims returns how many PersistentVolumeClaims, of whomever, a namespace has by what
// the API server itself knows now. It reads one of them, and trusts the server with the
// number of the others, which may be zero if the server does not count them.
// https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
func (c *Remote) CountClaims(ctx context.Context, namespace string) (int64, error) {
	claims, err := c.client.CoreV1().PersistentVolumeClaims(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return 0, fmt.Errorf("list persistentvolumeclaims in remote namespace %s: %w", namespace, err)
	}
	return int64(len(claims.Items)) + ptr.Deref(claims.RemainingItemCount, 0), nil
}

// CreatePod creates a pod and returns it as stored.
func (c *Remote) CreatePod(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	created, err := c.client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create remote pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return created, nil
}

// PatchPod applies a patch from translate.Mapper.Update.
func (c *Remote) PatchPod(ctx context.Context, pod PodRef, patch translate.Patch) (*corev1.Pod, error) {
	var subresources []string
	if patch.Subresource != "" {
		subresources = []string{patch.Subresource}
	}
	patched, err := c.client.CoreV1().Pods(pod.Namespace).
		Patch(ctx, pod.Name, types.StrategicMergePatchType, patch.Data, metav1.PatchOptions{}, subresources...)
	if err != nil {
		return nil, fmt.Errorf("patch remote pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return patched, nil
}

// DeletePod deletes a pod with the given grace period in seconds, or with the
// pod's own grace period if that is nil.
func (c *Remote) DeletePod(ctx context.Context, pod PodRef, gracePeriodSeconds *int64) error {
	err := c.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: gracePeriodSeconds,
		Preconditions:      &metav1.Preconditions{UID: &pod.UID},
	})
	if err != nil && !IsNotFoundOrConflict(err) {
		return fmt.Errorf("delete remote pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}
