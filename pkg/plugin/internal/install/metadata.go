package install

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/plugin/internal/kubeclient"
)

// markNamespaces gives the node's existing namespaces the labels and annotations that
// akd creates others with: akd itself may change none. It takes none away that install
// no longer lists: nobody can tell who else relies on it.
func (i *installer) markNamespaces(ctx context.Context) (outcome string, err error) {
	remote, node := i.both.Remote.Client.CoreV1().Namespaces(), i.options.node
	found, err := remote.List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNodeName + "=" + node})
	if err != nil {
		return "", fmt.Errorf("list the node's remote namespaces: %w", err)
	}
	owner, metadata, changed := i.both.Owner(node), &i.values.NamespaceMetadata, 0
	for n := range found.Items {
		namespace := &found.Items[n]
		foreign := owner.OwnsNamespace(namespace, namespace.Labels[contract.LabelNamespace]) != nil
		if foreign || namespace.DeletionTimestamp != nil || isMarked(namespace, metadata) {
			continue
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"uid":         namespace.UID, // another one of that name is not changed
			"labels":      metadata.Labels,
			"annotations": metadata.Annotations,
		}})
		if err != nil {
			return "", err
		}
		options := metav1.PatchOptions{FieldManager: kubeclient.FieldManager}
		_, err = remote.Patch(ctx, namespace.Name, types.MergePatchType, patch, options)
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("label and annotate remote namespace %s: %w", namespace.Name, err)
		}
		changed++
	}
	if changed == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d changed", changed), nil
}

func isMarked(namespace *corev1.Namespace, metadata *manifests.NamespaceMetadata) bool {
	return hasAll(namespace.Labels, metadata.Labels) && hasAll(namespace.Annotations, metadata.Annotations)
}

func hasAll(have, want map[string]string) bool {
	for key, value := range want {
		if got, ok := have[key]; !ok || got != value {
			return false
		}
	}
	return true
}
