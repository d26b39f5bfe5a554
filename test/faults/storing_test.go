//go:build e2e

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// StorageClasses of the local cluster: the volumes of one stay on a remote node and are
// deleted with their claims, those of the other follow their pods, and are kept.
const (
	deleting  = "faults-delete"
	retaining = "faults-retain"
)

// writer is the template of a pod that is to be the only writer of its volume. The class of
// its claim leads it to the node.
const writer = `    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - {name: main, image: actual-kubelets/writer:e2e, imagePullPolicy: Never, volumeMounts: [{name: data, mountPath: /data}]}
`

// storingApps are the workloads with claims: one with a claim for each pod, and two that use
// one claim, which has their name.
const storingApps = "store, single, kept"

// storing are these workloads.
func storing() string {
	return `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store}
spec:
  replicas: 2
  serviceName: store
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
` + writer + `  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {storageClassName: ` + deleting + `, accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
` + storingOne("single") + storingOne("kept")
}

func storingOne(name string) string {
	return fmt.Sprintf(`---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
%[2]s      volumes: [{name: data, persistentVolumeClaim: {claimName: %[1]s}}]
`, name, writer)
}

// singleClaims are the claims that users create, by their names, and the classes of these.
func singleClaims() map[string]string {
	return map[string]string{"single": deleting, "kept": retaining}
}

func (f *field) hasStorage() bool { return *claims }

// offerStorage prepares both clusters, and returns what is to be installed.
func (f *field) offerStorage(t *testing.T) manifests.Storage {
	t.Helper()
	f.LoadWriter(t)
	f.StorageClassOf(t, env.DriverClass, deleting, node, corev1.PersistentVolumeReclaimDelete)
	f.StorageClassOf(t, env.AnywhereClass, retaining, node, corev1.PersistentVolumeReclaimRetain)
	return manifests.Storage{Enabled: true, Classes: []string{env.DriverClass, env.AnywhereClass}}
}

// writeTo lets a pod that ends by itself write to a volume of its own.
func writeTo(spec *corev1.PodSpec, code, life int) {
	spec.NodeSelector = nil // the class leads it to the node
	spec.Containers[0].Image = "actual-kubelets/writer:e2e"
	spec.Containers[0].Command = []string{"/writer", "-for", fmt.Sprint(life, "s"), "-exit", fmt.Sprint(code), "/data"}
	spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	template := &corev1.PersistentVolumeClaimTemplate{Spec: claimOf(deleting, corev1.ReadWriteOnce)}
	spec.Volumes = []corev1.Volume{{
		Name: "data", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: template}},
	}}
}

func claimOf(class string, mode corev1.PersistentVolumeAccessMode) corev1.PersistentVolumeClaimSpec {
	return corev1.PersistentVolumeClaimSpec{
		StorageClassName: &class,
		AccessModes:      []corev1.PersistentVolumeAccessMode{mode},
		Resources: corev1.VolumeResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Mi")},
		},
	}
}

func (c *churn) scaleStore(ctx context.Context, namespace string) error {
	return c.patchSet(ctx, namespace, "store", fmt.Sprintf(`{"spec": {"replicas": %d}}`, 1+c.choose.IntN(3)))
}

func (c *churn) replaceStore(ctx context.Context, namespace string) error {
	return c.patchSet(ctx, namespace, "store", c.template())
}

// provide returns nil once the claims exist that users create. A Deployment's pods share a
// claim for a moment while one of them is replaced, and only this mode keeps them apart.
func (c *churn) provide(ctx context.Context) error {
	if !c.storage {
		return nil
	}
	for _, namespace := range churned() {
		for name, class := range singleClaims() {
			if err := c.createClaim(ctx, namespace, name, class); err != nil && !apierrors.IsAlreadyExists(err) {
				return err
			}
		}
	}
	return nil
}

func (c *churn) createClaim(ctx context.Context, namespace, name, class string) error {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: claimOf(class, corev1.ReadWriteOncePod)}
	_, err := c.client.CoreV1().PersistentVolumeClaims(namespace).Create(ctx, claim, metav1.CreateOptions{})
	return err
}

// renewClaim deletes a claim and the pods that use it. Another claim of that name follows,
// from its controller or a user.
func (c *churn) renewClaim(ctx context.Context, namespace string) error {
	names := []string{"data-store-0", "data-store-1", "single", "single", "kept", "kept"}
	name := names[c.choose.IntN(len(names))]
	claims, pods := c.client.CoreV1().PersistentVolumeClaims(namespace), c.client.CoreV1().Pods(namespace)
	class, ofUser := singleClaims()[name]
	if ofUser && c.createClaim(ctx, namespace, name, class) == nil {
		return nil // it had been deleted
	}
	if err := claims.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	if !ofUser {
		return pods.Delete(ctx, strings.TrimPrefix(name, "data-"), metav1.DeleteOptions{})
	}
	return pods.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app=" + name})
}

// grow requests another size of a claim. Most are larger; a smaller one the API server
// refuses, unless the claim has not become that large.
func (c *churn) grow(ctx context.Context, namespace string) error {
	pick, size := c.choose.IntN(1000), 10+c.choose.IntN(1000)
	claims := c.client.CoreV1().PersistentVolumeClaims(namespace)
	all, err := claims.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	if len(all.Items) == 0 {
		return errors.New("no claim")
	}
	patch := fmt.Sprintf(`{"spec": {"resources": {"requests": {"storage": "%dMi"}}}}`, size)
	_, err = claims.Patch(ctx, all.Items[pick%len(all.Items)].Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// localClaims are all claims of the local cluster.
func (f *field) localClaims() source {
	claims := f.Local.CoreV1().PersistentVolumeClaims(metav1.NamespaceAll)
	return source{list: listing(claims.List), watch: claims.Watch, saw: func(object metav1.Object, gone, _ bool) {
		if claim, is := object.(*corev1.PersistentVolumeClaim); is {
			f.stored.sawClaim(claim, gone)
		}
	}}
}

// localVolumes are the node's volumes in the local cluster.
func (f *field) localVolumes() source {
	volumes := f.Local.CoreV1().PersistentVolumes()
	return source{options: labelled(), list: listing(volumes.List), watch: volumes.Watch, saw: func(object metav1.Object, gone, unseen bool) {
		if volume, is := object.(*corev1.PersistentVolume); is {
			f.stored.sawVolume(volume, gone, unseen)
		}
	}}
}

// remoteClaims are the node's claims in the remote cluster.
func (f *field) remoteClaims() source {
	claims := f.Remote.CoreV1().PersistentVolumeClaims(metav1.NamespaceAll)
	return source{options: labelled(), list: listing(claims.List), watch: claims.Watch, saw: func(object metav1.Object, gone, _ bool) {
		if claim, is := object.(*corev1.PersistentVolumeClaim); is {
			f.stored.sawRemoteClaim(claim, gone)
		}
	}}
}

// labelled are the objects that akd has made.
func labelled() metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: contract.LabelNodeName + "=" + node}
}

// lookAtStored is what both clusters contain of claims and volumes.
func (f *field) lookAtStored(ctx context.Context) (found stored, err error) {
	claims, err := f.Local.CoreV1().PersistentVolumeClaims(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return stored{}, err
	}
	volumes, err := f.Local.CoreV1().PersistentVolumes().List(ctx, labelled())
	if err != nil {
		return stored{}, err
	}
	remotes, err := f.Remote.CoreV1().PersistentVolumeClaims(metav1.NamespaceAll).List(ctx, labelled())
	if err != nil {
		return stored{}, err
	}
	return stored{claims: claims.Items, volumes: volumes.Items, remotes: remotes.Items}, nil
}

// judgeStored finds what is wrong with volumes, once the recorder has seen everything.
func (f *field) judgeStored(t *testing.T) []violation {
	t.Helper()
	if !f.hasStorage() {
		return nil
	}
	if err := within(t.Context(), patience, f.readMarkers); err != nil {
		return append(f.stored.verdict(), violation{stuck, err.Error()})
	}
	return f.stored.verdict()
}

// readMarkers reads what is in the volumes of the remote cluster, past all API servers, as
// the storage driver of the clusters keeps them.
func (f *field) readMarkers(ctx context.Context) error {
	volumes, err := f.Remote.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range volumes.Items {
		spec := &volumes.Items[i].Spec
		if spec.CSI == nil || spec.ClaimRef == nil || volumes.Items[i].Status.Phase != corev1.VolumeBound {
			continue
		}
		folder := filepath.Join(f.Dir, "remote", "csi", "volumes", spec.CSI.VolumeHandle, "data")
		marker, err := os.ReadFile(filepath.Join(folder, "marker"))
		if errors.Is(err, os.ErrNotExist) {
			_, err = os.Stat(folder)
		}
		if err != nil {
			return err // the volume has gone meanwhile
		}
		f.stored.sawMarker(contract.ClaimUID(spec.ClaimRef.Name), string(marker))
	}
	return nil
}

// emptyStored deletes all claims, after which what is to be kept is all that is left, and
// goes when it is not to be kept any more.
func (f *field) emptyStored(t *testing.T) {
	t.Helper()
	for _, namespace := range churned() {
		f.Kubectl(t, "local", "delete", "persistentvolumeclaims", "--all", "-n", namespace, "--timeout=3m")
	}
	kept := f.waitStored(t, "only volumes that are to be kept are left", func(s *stored) error { return s.disagreement() })
	t.Logf("%d volumes were written, and %d are kept", f.stored.marked(), len(kept.volumes))
	if f.stored.marked() == 0 {
		t.Error("no pod has marked its volume: nothing can be found")
	}
	for i := range kept.volumes {
		f.Kubectl(t, "local", "patch", "persistentvolume", kept.volumes[i].Name, "--type=merge",
			"-p", `{"spec": {"persistentVolumeReclaimPolicy": "Delete"}}`)
	}
	f.waitStored(t, "no volume is left", func(s *stored) error {
		if left := len(s.volumes) + len(s.remotes); left > 0 {
			return fmt.Errorf("%d local volumes and %d remote claims are left", len(s.volumes), len(s.remotes))
		}
		return nil
	})
}

// waitStored waits for a state of claims and volumes, and judges them.
func (f *field) waitStored(t *testing.T, what string, wanted func(*stored) error) (found stored) {
	t.Helper()
	err := within(t.Context(), patience, func(ctx context.Context) (err error) {
		if found, err = f.lookAtStored(ctx); err == nil {
			err = errors.Join(wanted(&found), f.recorded(ctx))
		}
		return err
	})
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	for _, v := range f.judgeStored(t) {
		t.Errorf("%s: %s: %s", what, v.Breach, v.Text)
	}
	return found
}
