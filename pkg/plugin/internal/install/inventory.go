package install

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// The inventory of a node is the annotation contract.AnnotationInstalledKinds of
// its ServiceAccount, together with the node's label on every object: one says
// where to look, the other what is the node's. The ServiceAccount is part of every
// installation, is applied before all that it has to name, and is removed last. So
// the inventory needs no object and no right of its own, and akd cannot write it.

// unrecordedKinds are those of installations that have no record: of nodes that
// were installed before there was one. It does not grow.
func unrecordedKinds() []schema.GroupKind {
	const rbac, admission = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
	return []schema.GroupKind{
		{Kind: "ConfigMap"},
		{Kind: "Namespace"},
		{Kind: "Secret"},
		{Kind: accountKind},
		{Kind: "ValidatingAdmissionPolicy", Group: admission},
		{Kind: "ValidatingAdmissionPolicyBinding", Group: admission},
		{Kind: "Deployment", Group: "apps"},
		{Kind: "Lease", Group: "coordination.k8s.io"},
		{Kind: "ServiceCIDR", Group: "networking.k8s.io"},
		{Kind: "PodDisruptionBudget", Group: "policy"},
		{Kind: "ClusterRole", Group: rbac},
		{Kind: "ClusterRoleBinding", Group: rbac},
		{Kind: "Role", Group: rbac},
		{Kind: "RoleBinding", Group: rbac},
	}
}

// readKinds reads the record of one side; it is empty if there is none.
func readKinds(ctx context.Context, c *kubeclient.Cluster, node string) ([]schema.GroupKind, error) {
	account, err := c.Client.CoreV1().ServiceAccounts(contract.SystemNamespace).Get(ctx, node, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read the record of what is installed in the %s cluster: %w", c.Side, err)
	}
	var kinds []schema.GroupKind
	for text := range strings.SplitSeq(account.Annotations[contract.AnnotationInstalledKinds], ",") {
		if text != "" {
			kinds = append(kinds, schema.ParseGroupKind(text))
		}
	}
	return kinds, nil
}

// withRecord returns objects, in the order in which they are to be applied, with
// the record of their kinds and of those that were recorded before. Nothing is
// ever taken out of the record: an object that is not installed any more may
// still be there.
func withRecord(objects []*unstructured.Unstructured, recorded []schema.GroupKind) []*unstructured.Unstructured {
	kinds := append([]schema.GroupKind{{Kind: "Secret"}}, recorded...) // akd's credential is no manifest
	account := -1
	for i, object := range objects {
		kinds = append(kinds, object.GroupVersionKind().GroupKind())
		if object.GetKind() == accountKind && account < 0 { // akd's comes first
			account = i
		}
	}
	if account < 0 {
		return objects
	}
	slices.SortFunc(kinds, func(a, b schema.GroupKind) int { return strings.Compare(a.String(), b.String()) })
	var texts []string
	for _, kind := range slices.Compact(kinds) {
		texts = append(texts, kind.String())
	}
	recording := objects[account].DeepCopy()
	annotations := recording.GetAnnotations()
	setAll(&annotations, map[string]string{contract.AnnotationInstalledKinds: strings.Join(texts, ",")})
	recording.SetAnnotations(annotations)
	rest := slices.Delete(slices.Clone(objects), account, account+1)
	return slices.Insert(rest, firstAfterNamespaces(rest), recording)
}

// annotate adds an annotation to the ServiceAccount that withRecord made, unless it
// is empty.
func annotate(objects []*unstructured.Unstructured, key, value string) {
	for _, object := range objects {
		if object.GetKind() == accountKind && value != "" {
			annotations := object.GetAnnotations()
			setAll(&annotations, map[string]string{key: value})
			object.SetAnnotations(annotations)
		}
	}
}

// afterAccount returns how many objects withRecord put first: namespaces and the
// ServiceAccount.
func afterAccount(objects []*unstructured.Unstructured) int {
	return 1 + slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == accountKind })
}

func firstAfterNamespaces(objects []*unstructured.Unstructured) int {
	at := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() != "Namespace" })
	return max(at, 0)
}

// listInstalled lists the objects of some kinds that kubectl actual has
// installed, for any node or for all of them.
func listInstalled(ctx context.Context, c *kubeclient.Cluster, kinds []schema.GroupKind) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, kind := range kinds {
		mapping, err := c.Mapper.RESTMapping(kind)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s cluster: find %s: %w", c.Side, kind.Kind, err)
		}
		found, err := c.Dynamic.Resource(mapping.Resource).List(ctx,
			metav1.ListOptions{LabelSelector: kubeclient.LabelManagedBy + "=" + kubeclient.FieldManager})
		if err != nil {
			return nil, fmt.Errorf("list %s %s: %w", c.Side, mapping.Resource.Resource, err)
		}
		for i := range found.Items {
			all = append(all, &found.Items[i])
		}
	}
	return all, nil
}

// sharedKinds are those of objects in the local cluster that nodes with storage share: the
// last node to go may have been installed without.
func sharedKinds() []schema.GroupKind {
	const admission = "admissionregistration.k8s.io"
	return []schema.GroupKind{
		{Kind: "ValidatingAdmissionPolicyBinding", Group: admission},
		{Kind: "ValidatingAdmissionPolicy", Group: admission},
		{Kind: "CSIDriver", Group: "storage.k8s.io"},
	}
}

// withShared adds to what is installed of some kinds what is of the sharedKinds, as far as
// the user may list them.
func withShared(
	ctx context.Context, c *kubeclient.Cluster, kinds []schema.GroupKind, installed []*unstructured.Unstructured,
) ([]*unstructured.Unstructured, error) {
	for _, kind := range sharedKinds() {
		if slices.Contains(kinds, kind) {
			continue
		}
		more, err := listInstalled(ctx, c, []schema.GroupKind{kind})
		if err != nil && !apierrors.IsForbidden(err) {
			return nil, err
		}
		installed = append(installed, more...)
	}
	return installed, nil
}

// removal is what goes with a node: the objects that are ours and, with the last
// node, those that all nodes share, in the order in which they are to be removed.
// Another local cluster's node of the same name is another node.
func removal(
	objects []*unstructured.Unstructured, ours func(*unstructured.Unstructured) bool,
) (remove []*unstructured.Unstructured, last bool) {
	last = !slices.ContainsFunc(objects, func(o *unstructured.Unstructured) bool {
		_, has := o.GetLabels()[contract.LabelNodeName]
		return has && !ours(o)
	})
	for _, object := range objects {
		_, has := object.GetLabels()[contract.LabelNodeName]
		if has && ours(object) || isShared(object) && last {
			remove = append(remove, object)
		}
	}
	slices.SortStableFunc(remove, func(a, b *unstructured.Unstructured) int { return cmp.Compare(removalRank(a), removalRank(b)) })
	return remove, last
}

// isShared recognizes what all nodes share.
func isShared(object *unstructured.Unstructured) bool {
	_, has := object.GetLabels()[contract.LabelNodeName]
	return !has && object.GetLabels()[kubeclient.LabelPartOf] == kubeclient.PartOf
}

// removalRank orders a removal: rights go before the policies that confine them,
// and the record, with the namespace around it, when all is gone that it names.
func removalRank(object *unstructured.Unstructured) int {
	switch kind := object.GroupVersionKind(); {
	case kind.Kind == "Namespace":
		return 3
	case kind.Kind == accountKind:
		return 2
	case kind.Group == "admissionregistration.k8s.io":
		return 1
	default:
		return 0
	}
}
