package install

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/failure"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/owner"
)

// claim makes the node's name this local cluster's: whoever creates the node's
// ServiceAccount in the remote cluster has the name. It is created, and not applied,
// because of two installations at the same time only one can create it; the other
// reads whose it is. objects are those that come first: the namespace
// actual-system and the ServiceAccount in it.
func (i *installer) claim(ctx context.Context, objects []*unstructured.Unstructured) (string, error) {
	remote, account := i.both.Remote, objects[len(objects)-1]
	counts, err := remote.Apply(ctx, objects[:len(objects)-1], i.applyOptions())
	i.counts = i.counts.Add(counts)
	if err != nil {
		return "", err
	}
	resource, err := remote.Resource(account)
	if err != nil {
		return "", err
	}
	created := unclaimed(account)
	_, err = resource.Create(ctx, created, metav1.CreateOptions{FieldManager: kubeclient.FieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("create remote %s: %w", kubeclient.Title(account), err)
	}
	isNew := err == nil
	stored, err := resource.Get(ctx, account.GetName(), metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read remote %s: %w", kubeclient.Title(account), err)
	}
	claims := &owner.Claims{Owner: i.both.Owner(i.options.node), Commands: i.both.Commands()}
	if !owner.Owns(claims.Owner, stored) {
		claims.Foreign = append(claims.Foreign, stored)
		return "", claims.Refusal()
	}
	counts, err = remote.Apply(ctx, []*unstructured.Unstructured{account}, i.applyOptions())
	if isNew {
		counts = kubeclient.Counts{Created: 1}
	}
	i.counts = i.counts.Add(counts)
	return "", err
}

// unclaimed is the ServiceAccount with the labels alone that say whose it is.
func unclaimed(account *unstructured.Unstructured) *unstructured.Unstructured {
	created := &unstructured.Unstructured{}
	created.SetGroupVersionKind(account.GroupVersionKind())
	created.SetNamespace(account.GetNamespace())
	created.SetName(account.GetName())
	created.SetLabels(map[string]string{
		contract.LabelNodeName:   account.GetLabels()[contract.LabelNodeName],
		contract.LabelClusterUID: account.GetLabels()[contract.LabelClusterUID],
	})
	return created
}

const (
	// claimKind is the kind of the objects that hold data.
	claimKind = "PersistentVolumeClaim"
	// accountKind is that of the object that has the node's name.
	accountKind = "ServiceAccount"
)

// takenKinds are those of which akd creates objects in remote namespaces.
func takenKinds() []schema.GroupKind {
	return []schema.GroupKind{
		{Kind: "Pod"},
		{Kind: "ConfigMap"},
		{Kind: "Secret"},
		{Kind: claimKind},
		{Kind: "Service"},
		{Kind: "EndpointSlice", Group: "discovery.k8s.io"},
		{Kind: "RoleBinding", Group: "rbac.authorization.k8s.io"},
		{Kind: "ResourceQuota"},
		{Kind: "LimitRange"},
		{Kind: "NetworkPolicy", Group: "networking.k8s.io"},
		{Kind: "PodDisruptionBudget", Group: "policy"},
	}
}

// takeOver makes what another local cluster has under the node's name this local
// cluster's. It replaces the ServiceAccount first, so that no akd of the other cluster
// has a credential any more. It only labels everything else anew, namespaces and
// what akd created in them included: akd then deletes what no local pod needs as it
// deletes any orphan, within the limits for orphans, and no data are lost by mistake.
func (i *installer) takeOver(ctx context.Context) (string, error) {
	if err := i.replaceAccount(ctx); err != nil {
		return "", err
	}
	remote := i.both.Remote
	for _, object := range i.claims.Foreign {
		if object.GetKind() == accountKind {
			continue
		}
		if err := takeable(object); err != nil {
			return "", err
		}
		resource, err := remote.Resource(object)
		if err != nil {
			return "", err
		}
		if err := i.relabel(ctx, resource, object); err != nil && !apierrors.IsNotFound(err) {
			return "", fmt.Errorf("take over remote %s: %w", kubeclient.Title(object), err)
		}
	}
	taken := len(i.claims.Foreign)
	for _, kind := range takenKinds() {
		more, err := i.takeOverKind(ctx, kind)
		if err != nil {
			return "", err
		}
		taken += more
	}
	return fmt.Sprintf("%d objects taken over", taken), nil
}

// takeable returns an error if an installer of another kind would undo what takeOver does.
func takeable(object *unstructured.Unstructured) error {
	by := kubeclient.ForeignManager(object)
	if by == "" {
		return nil
	}
	return failure.Hintf(fmt.Errorf("remote %s is managed by %s", kubeclient.Title(object), by), "change its label there")
}

// replaceAccount ends the tokens of the other cluster's akd with its ServiceAccount, and
// creates another one, also if there is none any more, as after an interruption.
func (i *installer) replaceAccount(ctx context.Context) error {
	for _, object := range i.claims.Foreign {
		if object.GetKind() != accountKind {
			continue
		}
		if err := takeable(object); err != nil {
			return err
		}
		resource, err := i.both.Remote.Resource(object)
		if err != nil {
			return err
		}
		if err := resource.Delete(ctx, object.GetName(), kubeclient.Exactly(object)); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("take over remote %s: %w", kubeclient.Title(object), err)
		}
	}
	return standIn(ctx, i.both.Remote, i.both.Owner(i.options.node))
}

// standIn creates akd's remote ServiceAccount, with nothing but the labels that say whose it
// is, unless there is one. While there is none, the policies that read their settings from it
// deny every change of the node's pods and claims, and to delete its namespaces, whoever
// asks.
func standIn(ctx context.Context, remote *kubeclient.Cluster, owner contract.Owner) error {
	account := &unstructured.Unstructured{}
	account.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(accountKind))
	account.SetNamespace(contract.SystemNamespace)
	account.SetName(owner.Node)
	account.SetLabels(owner.ObjectLabels())
	resource, err := remote.Resource(account)
	if err != nil {
		return err
	}
	_, err = resource.Create(ctx, account, metav1.CreateOptions{FieldManager: kubeclient.FieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) { // without actual-system, there are no settings
		return fmt.Errorf("create remote %s: %w", kubeclient.Title(account), err)
	}
	return nil
}

// takeOverKind labels the node's objects of one kind in all remote namespaces.
func (i *installer) takeOverKind(ctx context.Context, kind schema.GroupKind) (taken int, err error) {
	mapping, err := i.both.Remote.Mapper.RESTMapping(kind)
	if meta.IsNoMatchError(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("remote cluster: find %s: %w", kind.Kind, err)
	}
	foreign, err := labels.NewRequirement(contract.LabelClusterUID, selection.NotEquals, []string{string(i.both.Local.UID)})
	if err != nil {
		return 0, err
	}
	selector := labels.SelectorFromSet(labels.Set{contract.LabelNodeName: i.options.node}).Add(*foreign)
	client := i.both.Remote.Dynamic.Resource(mapping.Resource)
	list, err := client.List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return 0, fmt.Errorf("list remote %s: %w", mapping.Resource.Resource, err)
	}
	for n := range list.Items {
		object := &list.Items[n]
		if err := i.relabel(ctx, client.Namespace(object.GetNamespace()), object); err != nil && !apierrors.IsNotFound(err) {
			return taken, fmt.Errorf("take over remote %s: %w", kubeclient.Title(object), err)
		}
		taken++
	}
	return taken, nil
}

// settled repeats a request that is denied for up to some seconds: an API server may take
// that long to learn of a new ServiceAccount, whose settings its policies read.
func settled(request func() error) error {
	denied := func(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) }
	return retry.OnError(wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Steps: 6}, denied, request)
}

// relabel makes exactly this object the local cluster's: its UID in the patch is a
// precondition.
func (i *installer) relabel(ctx context.Context, client dynamic.ResourceInterface, object *unstructured.Unstructured) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":    object.GetUID(),
		"labels": i.both.Owner(i.options.node).ObjectLabels(),
	}})
	if err != nil {
		return err
	}
	return settled(func() error {
		_, err := client.Patch(ctx, object.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kubeclient.FieldManager})
		return err
	})
}
