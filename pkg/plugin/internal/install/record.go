package install

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// seedRecord adds those namespaces of the node to akd's record that are missing
// from it: an akd with an administrator's kubeconfig, as the node may have had
// before, keeps no record, and with a tenant's it would not find them. It also takes
// out what is not the node's: only a thief of akd's credential can have added it.
func (i *installer) seedRecord(ctx context.Context) (string, error) {
	remote, node := i.both.Remote.Client.CoreV1(), i.options.node
	found, err := remote.Namespaces().List(ctx, metav1.ListOptions{LabelSelector: contract.LabelNodeName + "=" + node})
	if err != nil {
		return "", fmt.Errorf("list the node's remote namespaces: %w", err)
	}
	name := contract.RecordName(node)
	record, err := remote.ConfigMaps(contract.SystemNamespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read akd's record of namespaces: %w", err)
	}
	owner := i.both.Owner(node)
	missing := unrecorded(owner, found.Items, record.Data)
	foreign := owner.ForeignRecords(record.Data)
	if len(missing)+len(foreign) == 0 {
		return "", nil
	}
	entries := map[string]*string{}
	for name, serves := range missing {
		entries[name] = &serves
	}
	for _, name := range foreign {
		entries[name] = nil
	}
	patch, err := json.Marshal(map[string]any{"data": entries})
	if err != nil {
		return "", err
	}
	// In akd's name, whose data this is: a later apply leaves it alone.
	options := metav1.PatchOptions{FieldManager: contract.UserAgent}
	if _, err := remote.ConfigMaps(contract.SystemNamespace).Patch(ctx, name, types.MergePatchType, patch, options); err != nil {
		return "", fmt.Errorf("write akd's record of namespaces: %w", err)
	}
	if len(foreign) > 0 {
		return fmt.Sprintf("%d added; %d removed that are not the node's, a sign that somebody else used akd's credential",
			len(missing), len(foreign)), nil
	}
	return fmt.Sprintf("%d namespaces added", len(missing)), nil
}

// unrecorded are the node's namespaces that a record lacks, and the local ones
// that they serve.
func unrecorded(owner contract.Owner, namespaces []corev1.Namespace, record map[string]string) map[string]string {
	missing := map[string]string{}
	for n := range namespaces {
		namespace := &namespaces[n]
		serves := namespace.Labels[contract.LabelNamespace]
		if _, known := record[namespace.Name]; !known && owner.OwnsNamespace(namespace, serves) == nil {
			missing[namespace.Name] = serves
		}
	}
	return missing
}
