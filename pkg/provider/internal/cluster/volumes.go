package cluster

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
)

// ofAKD is the local cluster as akd itself reads it.
func (c *Local) ofAKD() store.Server { return store.Server{Client: c.own, Timeline: c.time} }

// Claims selects all PersistentVolumeClaims, of which a node may only get those of its pods.
func (c *Local) Claims() store.ListWatch {
	claims := c.own.CoreV1().PersistentVolumeClaims(metav1.NamespaceAll)
	return store.NewListWatch("local persistentvolumeclaims", c.ofAKD(), claims, store.Everything)
}

// Volumes selects the PersistentVolumes of this node.
func (c *Local) Volumes() store.ListWatch {
	return store.NewListWatch("local persistentvolumes", c.ofAKD(), c.own.CoreV1().PersistentVolumes(), func(opts *metav1.ListOptions) {
		opts.LabelSelector = labels.Set{contract.LabelNodeName: c.node}.String()
	})
}

// StorageClasses selects all StorageClasses.
func (c *Local) StorageClasses() store.ListWatch {
	return store.NewListWatch("local storageclasses", c.ofAKD(), c.own.StorageV1().StorageClasses(), store.Everything)
}

// CanFollowVolumes returns an error if akd may not read the PersistentVolumes, the claims or
// the classes.
func (c *Local) CanFollowVolumes(ctx context.Context) error {
	one := metav1.ListOptions{Limit: 1}
	if _, err := c.own.CoreV1().PersistentVolumes().List(ctx, one); err != nil {
		return fmt.Errorf("list local persistentvolumes: %w", err)
	}
	if _, err := c.own.CoreV1().PersistentVolumeClaims(metav1.NamespaceAll).List(ctx, one); err != nil {
		return fmt.Errorf("list local persistentvolumeclaims: %w", err)
	}
	if _, err := c.own.StorageV1().StorageClasses().List(ctx, one); err != nil {
		return fmt.Errorf("list local storageclasses: %w", err)
	}
	return nil
}

// GetVolume reads a PersistentVolume from the API server, not from a cache.
func (c *Local) GetVolume(ctx context.Context, name string) (*corev1.PersistentVolume, error) {
	volume, err := c.own.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, localError{fmt.Errorf("get local persistentvolume %s: %w", name, err)}
	}
	return volume, nil
}

// GetClaim reads a PersistentVolumeClaim from the API server, not from a cache.
func (c *Local) GetClaim(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error) {
	claim, err := c.own.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, localError{fmt.Errorf("get local persistentvolumeclaim %s/%s: %w", namespace, name, err)}
	}
	return claim, nil
}

// CreateVolume creates a PersistentVolume and returns it as stored.
func (c *Local) CreateVolume(ctx context.Context, volume *corev1.PersistentVolume) (*corev1.PersistentVolume, error) {
	created, err := c.own.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if err != nil {
		return nil, localError{fmt.Errorf("create local persistentvolume %s: %w", volume.Name, err)}
	}
	return created, nil
}

// PatchVolume applies a patch from package translate, which names the volume's UID.
func (c *Local) PatchVolume(ctx context.Context, name string, patch []byte) (*corev1.PersistentVolume, error) {
	patched, err := c.own.CoreV1().PersistentVolumes().Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return nil, localError{fmt.Errorf("patch local persistentvolume %s: %w", name, err)}
	}
	return patched, nil
}

// DeleteVolume deletes the PersistentVolume in the state that is given, and no other. It
// returns nil if it is gone or has changed.
func (c *Local) DeleteVolume(ctx context.Context, volume *corev1.PersistentVolume) error {
	err := c.own.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, deleteUnchanged(volume))
	if err != nil && !IsNotFoundOrConflict(err) {
		return localError{fmt.Errorf("delete local persistentvolume %s: %w", volume.Name, err)}
	}
	return nil
}

// PatchClaimStatus applies a patch of the status, which names the claim's UID.
func (c *Local) PatchClaimStatus(ctx context.Context, namespace, name string, patch []byte) (*corev1.PersistentVolumeClaim, error) {
	patched, err := c.own.CoreV1().PersistentVolumeClaims(namespace).
		Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return nil, localError{fmt.Errorf("patch status of local persistentvolumeclaim %s/%s: %w", namespace, name, err)}
	}
	return patched, nil
}

// Claims selects the PersistentVolumeClaims of a namespace that akd created for this node.
func (c *Remote) Claims(namespace string) store.ListWatch {
	claims := c.client.CoreV1().PersistentVolumeClaims(namespace)
	return store.NewListWatch("remote persistentvolumeclaims of "+namespace, c.server(), claims, c.ours)
}

// GetClaim reads a PersistentVolumeClaim from the API server, not from a cache.
func (c *Remote) GetClaim(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error) {
	claim, err := c.client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get remote persistentvolumeclaim %s/%s: %w", namespace, name, err)
	}
	return claim, nil
}

// PatchClaim applies a patch from package translate, which names the claim's UID.
func (c *Remote) PatchClaim(ctx context.Context, namespace, name string, patch []byte) (*corev1.PersistentVolumeClaim, error) {
	patched, err := c.client.CoreV1().PersistentVolumeClaims(namespace).
		Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return nil, fmt.Errorf("patch remote persistentvolumeclaim %s/%s: %w", namespace, name, err)
	}
	return patched, nil
}

// ClaimWriter writes PersistentVolumeClaims.
func (c *Remote) ClaimWriter() Writer[*corev1.PersistentVolumeClaim] {
	return Writer[*corev1.PersistentVolumeClaim]{
		kind: "persistentvolumeclaim",
		in: func(namespace string) writable[*corev1.PersistentVolumeClaim] {
			return c.client.CoreV1().PersistentVolumeClaims(namespace)
		},
	}
}

// GetStorageClass reads a StorageClass from the API server.
func (c *Remote) GetStorageClass(ctx context.Context, name string) (*storagev1.StorageClass, error) {
	class, err := c.client.StorageV1().StorageClasses().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get remote storageclass %s: %w", name, err)
	}
	return class, nil
}
