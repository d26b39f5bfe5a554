package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// storageClass is the StorageClass of claims in both clusters: in the remote one it is
// that of --local-path, in the local one akd's for it. The clusters' own storage driver
// attaches volumes, for which a kubelet waits several seconds: much longer than for what
// is measured.
const storageClass = "standard"

// offerStorage makes what kubectl actual install --storage=claims makes in the local
// cluster, but for the rights: akd is the administrator here.
func offerStorage(ctx context.Context, local kubernetes.Interface) error {
	driver := &storagev1.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: contract.StorageDriver},
		Spec: storagev1.CSIDriverSpec{
			AttachRequired:       new(false),
			PodInfoOnMount:       new(false),
			StorageCapacity:      new(false),
			VolumeLifecycleModes: []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent},
		},
	}
	_, err := local.StorageV1().CSIDrivers().Create(ctx, driver, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create csidriver %s: %w", driver.Name, err)
	}
	class := &storagev1.StorageClass{
		ObjectMeta:        metav1.ObjectMeta{Name: storageClass},
		Provisioner:       contract.StorageDriver,
		Parameters:        map[string]string{contract.ParameterRemoteClass: storageClass},
		VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer),
		AllowedTopologies: []corev1.TopologySelectorTerm{{
			MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: contract.LabelNodeName, Values: []string{benchNode}}},
		}},
	}
	_, err = local.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create storageclass %s: %w", class.Name, err)
	}
	return nil
}

// writeStorageConfig writes the configuration of an akd with storage, beside its log: the
// clusters command wants no other files in the run folder.
func writeStorageConfig(dir string) (file string, err error) {
	file = filepath.Join(dir, "logs", "akd-bench.yaml")
	config := "apiVersion: actual.vk/v1alpha1\nkind: AKDConfiguration\nstorage: {mode: claims, classes: [" + storageClass + "]}\n"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return "", fmt.Errorf("akd's configuration: %w", err)
	}
	return file, nil
}

// createClaim creates the claim of a pod, if pods have claims.
func (l *load) createClaim(ctx context.Context, pod *corev1.Pod) error {
	if l.class == "" {
		return nil
	}
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &l.class,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")},
			},
		},
	}
	_, err := l.client.CoreV1().PersistentVolumeClaims(pod.Namespace).Create(ctx, claim, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create claim %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// dropClaims deletes the claims of loads whose pods are gone, and waits until neither
// cluster has a volume. It comes after all pods, so that the removal of volumes, which takes
// seconds, is in no pod's way.
func (env *environment) dropClaims(ctx context.Context, loads []*load) error {
	for _, l := range loads {
		if l.class == "" {
			return nil
		}
		err := l.each(ctx, func(ctx context.Context, i int) error {
			pod := l.pod(l.run, i)
			err := l.client.CoreV1().PersistentVolumeClaims(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{})
			if err != nil {
				return fmt.Errorf("delete claim %s/%s: %w", pod.Namespace, pod.Name, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return poll(ctx, "no volumes are left", func(ctx context.Context) error {
		for s, client := range env.clients {
			volumes, err := client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{Limit: 1})
			if err != nil {
				return fmt.Errorf("list %s volumes: %w", s, err)
			}
			if len(volumes.Items) > 0 {
				return fmt.Errorf("there is still %s volume %s", s, volumes.Items[0].Name)
			}
		}
		return nil
	})
}
