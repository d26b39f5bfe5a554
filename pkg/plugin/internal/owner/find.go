package owner

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// parallelReads is how many objects are read at a time.
const parallelReads = 8

// Find reads every object in the remote cluster that has the name of one that is
// installed for a node, and every namespace with the node's label. What the user
// may not read, the user cannot change either: it is left out.
func Find(ctx context.Context, remote *kubeclient.Cluster, owner contract.Owner) (*Claims, error) {
	wanted, err := installable(owner)
	if err != nil {
		return nil, err
	}
	found := make([]*unstructured.Unstructured, len(wanted))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	for i := range wanted {
		group.Go(func() (err error) {
			found[i], err = read(groupCtx, remote, wanted[i])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	namespaces, err := listNamespaces(ctx, remote, owner.Node)
	if err != nil {
		return nil, err
	}
	claims := &Claims{Owner: owner, Commands: remote.Commands}
	for _, object := range slices.Concat(found, namespaces) {
		if object != nil {
			claims.add(object)
		}
	}
	return claims, nil
}

// installable are all objects that any installation of a node has in the remote
// cluster, the ServiceAccount first: install creates it before the others, and
// records there what helps to find the owner.
func installable(owner contract.Owner) ([]*unstructured.Unstructured, error) {
	objects, err := manifests.Remote(manifests.Values{
		Node:           owner.Node,
		ClusterUID:     string(owner.ClusterUID),
		Image:          "any",
		RunIn:          manifests.RunInRemote,
		Replicas:       2, // with a PodDisruptionBudget
		MirrorBudgets:  true,
		Storage:        manifests.Storage{Enabled: true, Classes: []string{"any"}},
		MirrorServices: true,
		ServiceCIDRs:   []string{"192.0.2.0/24"},    // some range, for the object's name
		EndpointCIDRs:  []string{"198.51.100.0/24"}, // likewise
	})
	if err != nil {
		return nil, err
	}
	objects = slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetLabels()[contract.LabelNodeName] == "" })
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return cmp.Compare(rank(a), rank(b)) })
	return objects, nil
}

func rank(object *unstructured.Unstructured) int {
	if object.GetKind() == "ServiceAccount" {
		return 0
	}
	return 1
}

// read returns the stored object, or nil if there is none that the user may read.
func read(ctx context.Context, remote *kubeclient.Cluster, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	resource, err := remote.Resource(object)
	if meta.IsNoMatchError(err) {
		return nil, nil //nolint:nilnil // the cluster does not have this kind, so no such object
	}
	if err != nil {
		return nil, err
	}
	found, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsForbidden(err):
		return nil, nil //nolint:nilnil // see Find
	case err != nil:
		return nil, fmt.Errorf("find the owner of node %s: read remote %s: %w",
			object.GetLabels()[contract.LabelNodeName], kubeclient.Title(object), err)
	}
	return found, nil
}

func listNamespaces(ctx context.Context, remote *kubeclient.Cluster, node string) ([]*unstructured.Unstructured, error) {
	list, err := remote.Client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNodeName + "=" + node})
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the owner of node %s: list its remote namespaces: %w", node, err)
	}
	var found []*unstructured.Unstructured
	for i := range list.Items {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&list.Items[i])
		if err != nil {
			return nil, fmt.Errorf("read remote namespace %s: %w", list.Items[i].Name, err)
		}
		namespace := &unstructured.Unstructured{Object: content}
		namespace.SetAPIVersion("v1")
		namespace.SetKind("Namespace")
		found = append(found, namespace)
	}
	return found, nil
}
