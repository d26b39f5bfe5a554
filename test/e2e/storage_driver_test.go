//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// Classes of the node of TestStorageDriver, besides that of its own name.
const (
	drivenAnywhere = "driven-anywhere"
	drivenRetain   = "driven-retain"
)

// TestStorageDriver shows what claims can do with a driver of disks: devices, growth, clones
// and access modes. Then the rights to claims are taken away, and a remote namespace (I9).
func TestStorageDriver(t *testing.T) {
	env.SkipUnlessSlow(t)
	s := stored{Env: env.UpAlone(t, "--local-nodes=0", "--remote-nodes=2", "--csi"), node: "driven"}
	akd := s.StartStorageOf(t, s.node, []string{env.DriverClass, env.AnywhereClass}, "--leader-election-lease=")
	s.StorageClassOf(t, env.AnywhereClass, drivenAnywhere, s.node, corev1.PersistentVolumeReclaimDelete)
	s.StorageClassOf(t, env.DriverClass, drivenRetain, s.node, corev1.PersistentVolumeReclaimRetain)
	t.Run("ManyMachines", s.manyMachines)
	t.Run("Uses", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){
			"Device":      s.device,
			"Offline":     s.growOffline,
			"TooLarge":    s.growTooMuch,
			"Clone":       s.clone,
			"OncePod":     s.oncePod,
			"Mounts":      s.mounts,
			"Ephemeral":   s.ephemeral,
			"StatefulSet": s.statefulSet,
		} {
			t.Run(name, func(t *testing.T) { //nolint:paralleltest // it is
				t.Parallel()
				test(t)
			})
		}
	})
	t.Run("Online", func(t *testing.T) { s.growOnline(t, akd) })
	t.Run("Forbidden", func(t *testing.T) { s.forbidden(t, akd) })
}

// smallClaim is a claim of 1Mi with changes, each of an old text and a new one.
func smallClaim(class, name string, changes ...string) string {
	claim := strings.Replace(env.ClaimOf(class, name), "100Mi", "1Mi", 1)
	return strings.NewReplacer(changes...).Replace(claim)
}

// Changes of claims.
var (
	asDevice     = []string{"\nspec:\n", "\nspec:\n  volumeMode: Block\n"}
	forManyNodes = []string{"ReadWriteOnce", "ReadWriteMany"}
	forOnePod    = []string{"ReadWriteOnce", "ReadWriteOncePod"}
)

// withDevice is a pod that has a claim as the device /dev/volume.
func withDevice(name, claim string) string {
	return strings.Replace(env.Mounting(name, claim, "sleep 3600"),
		"volumeMounts: [{name: data, mountPath: /data}]", "volumeDevices: [{name: data, devicePath: /dev/volume}]", 1)
}

// resize requests another size of a claim.
func (s stored) resize(t *testing.T, namespace, claim, size string) {
	t.Helper()
	s.Kubectl(t, "local", "patch", "persistentvolumeclaim", claim, "-n", namespace,
		"-p", fmt.Sprintf(`{"spec": {"resources": {"requests": {"storage": %q}}}}`, size))
}

// waitCapacity waits until a claim has a size, and nothing about it is pending. The
// volume has that size as well, which akd writes first.
func (s stored) waitCapacity(t *testing.T, namespace, claim, size string) {
	t.Helper()
	s.Claim(namespace, claim).Eventually(t, "has "+size, func(found *corev1.PersistentVolumeClaim) error {
		if got := found.Status.Capacity.Storage().String(); got != size {
			return fmt.Errorf("it has %s", got)
		}
		for _, condition := range found.Status.Conditions {
			if condition.Type != contract.ConditionRemoteBound && condition.Status == corev1.ConditionTrue {
				return fmt.Errorf("it has the condition %s", condition.Type)
			}
		}
		return nil
	})
	volume := s.Claim(namespace, claim).WaitBound(t)
	got := s.Kubectl(t, "local", "get", "persistentvolume", volume.Name, "-o", "jsonpath={.spec.capacity.storage}")
	if got != size {
		t.Errorf("claim %s has %s, and its volume %s", claim, size, got)
	}
}

// writeDevice makes the claim disk, and lets a pod that has it as a device write a line there
// and go.
func (s stored) writeDevice(t *testing.T, namespace string) {
	t.Helper()
	s.Apply(t, namespace, smallClaim(s.node, "disk", asDevice...)+withDevice("writer", "disk"))
	s.WaitReady(t, namespace, "writer")
	s.Pod(namespace, "writer").Shell(t, "echo written | dd of=/dev/volume conv=fsync")
	s.Kubectl(t, "local", "delete", "pod", "writer", "-n", namespace)
}

// wantDevice checks what a pod finds at the beginning of its device, and the device's size.
func (s stored) wantDevice(t *testing.T, namespace, pod, line string, size int) {
	t.Helper()
	env.Eventually(t, "the device of pod "+pod, func(context.Context) error {
		got, stderr, err := s.TryKubectl("local", nil, "exec", "-n", namespace, pod, "--",
			"sh", "-c", "head -n 1 /dev/volume; wc -c </dev/volume")
		if err != nil {
			return fmt.Errorf("%w: %s", err, stderr)
		}
		if want := fmt.Sprintf("%s\n%d\n", line, size); got != want {
			return fmt.Errorf("it has %.100q, not %q", got, want)
		}
		return nil
	})
}

// device: a claim is a device in its pods, and its content outlives them.
func (s stored) device(t *testing.T) {
	namespace := s.Namespace(t, "driven-device")
	s.writeDevice(t, namespace)
	s.Apply(t, namespace, withDevice("reader", "disk"))
	s.WaitReady(t, namespace, "reader")
	s.wantDevice(t, namespace, "reader", "written", 1<<20)
	volume := s.Claim(namespace, "disk").WaitBound(t)
	remote, err := volume.RemoteClaim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	local := s.Kubectl(t, "local", "get", "persistentvolume", volume.Name, "-o", "jsonpath={.spec.volumeMode}")
	if mode := remote.Spec.VolumeMode; mode == nil || *mode != corev1.PersistentVolumeBlock || local != "Block" {
		t.Errorf("the remote claim has the mode %v, and the local volume %s: want Block", mode, local)
	}
}

// growOffline: a claim grows while no pod uses it. The rest of the work waits for the next
// pod, which the claim says.
func (s stored) growOffline(t *testing.T) {
	namespace := s.Namespace(t, "driven-offline")
	s.writeDevice(t, namespace)
	s.resize(t, namespace, "disk", "5Mi")
	s.Claim(namespace, "disk").Eventually(t, "waits for a pod", func(found *corev1.PersistentVolumeClaim) error {
		for _, condition := range found.Status.Conditions {
			if condition.Type == corev1.PersistentVolumeClaimFileSystemResizePending && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %+v", found.Status.Conditions)
	})
	s.Apply(t, namespace, withDevice("reader", "disk"))
	s.WaitReady(t, namespace, "reader")
	s.waitCapacity(t, namespace, "disk", "5Mi")
	s.wantDevice(t, namespace, "reader", "written", 5<<20)
}

// growTooMuch: the driver has no volume of that size. The claim says so, and a smaller
// request takes it back.
func (s stored) growTooMuch(t *testing.T) {
	namespace := s.Namespace(t, "driven-large")
	s.Apply(t, namespace, smallClaim(s.node, "data")+env.Mounting("db", "data", env.Started))
	s.WaitReady(t, namespace, "db")
	s.resize(t, namespace, "data", "2Ti")
	claim := s.Claim(namespace, "data")
	claim.WaitEvent(t, "VolumeResizeFailed", "a volume has at most")
	claim.Eventually(t, "says that it cannot grow so far", func(found *corev1.PersistentVolumeClaim) error {
		if got := found.Status.AllocatedResourceStatuses[corev1.ResourceStorage]; got != corev1.PersistentVolumeClaimControllerResizeInfeasible {
			return fmt.Errorf("the status of the resize is %q", got)
		}
		return nil
	})
	s.resize(t, namespace, "data", "5Mi")
	s.waitCapacity(t, namespace, "data", "5Mi")
	s.wantLog(t, namespace, "db", "db")
}

// clone: a claim begins with the data of another one. From then on they differ, and the
// source can go.
func (s stored) clone(t *testing.T) {
	namespace := s.Namespace(t, "driven-clone")
	s.Apply(t, namespace, smallClaim(s.node, "source")+env.Mounting("original", "source", env.Started))
	s.WaitReady(t, namespace, "original")
	s.wantLog(t, namespace, "original", "original")
	s.Apply(t, namespace, smallClaim(s.node, "copy", "\nspec:\n", "\nspec:\n  dataSource: {kind: PersistentVolumeClaim, name: source}\n")+
		env.Mounting("clone", "copy", env.Started))
	s.WaitReady(t, namespace, "clone")
	s.wantLog(t, namespace, "clone", "original", "clone")
	s.Pod(namespace, "original").Shell(t, "echo later > /data/later")
	s.wantLog(t, namespace, "original", "original")
	if got := s.Pod(namespace, "clone").Shell(t, "ls /data"); got != "log\n" {
		t.Errorf("the copy contains %q: want only what was there when it was made", got)
	}
	source, copied := s.Claim(namespace, "source").WaitBound(t), s.Claim(namespace, "copy").WaitBound(t)
	s.Kubectl(t, "local", "delete", "pod/original", "persistentvolumeclaim/source", "-n", namespace)
	source.WaitDeleted(t)
	copied.Remains(t)
	s.wantLog(t, namespace, "clone", "original", "clone")
}

// oncePod: the second pod of a claim with ReadWriteOncePod waits until the first one is gone.
func (s stored) oncePod(t *testing.T) {
	namespace := s.Namespace(t, "driven-once")
	s.Apply(t, namespace, smallClaim(s.node, "data", forOnePod...)+env.Mounting("first", "data", env.Started))
	s.WaitReady(t, namespace, "first")
	s.Apply(t, namespace, env.Mounting("second", "data", env.Started))
	s.Pod(namespace, "second").Eventually(t, "the second pod waits", func(pod *corev1.Pod) error {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse &&
				strings.Contains(condition.Message, "ReadWriteOncePod") {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %+v", pod.Status.Conditions)
	})
	s.wantLog(t, namespace, "first", "first")
	s.Kubectl(t, "local", "delete", "pod", "first", "-n", namespace)
	s.WaitReady(t, namespace, "second")
	s.wantLog(t, namespace, "second", "first", "second")
}

// manyMachines: two pods on two remote nodes share a claim with ReadWriteMany.
func (s stored) manyMachines(t *testing.T) {
	namespace := s.Namespace(t, "driven-shared")
	s.Kubectl(t, "remote", "cordon", "remote-2")
	s.Apply(t, namespace, smallClaim(drivenAnywhere, "data", forManyNodes...)+env.Mounting("one", "data", env.Started))
	s.WaitReady(t, namespace, "one")
	s.Kubectl(t, "remote", "uncordon", "remote-2")
	s.Kubectl(t, "remote", "cordon", "remote-1")
	s.Apply(t, namespace, env.Mounting("two", "data", env.Started))
	s.WaitReady(t, namespace, "two")
	s.Kubectl(t, "remote", "uncordon", "remote-1")
	s.wantNode(t, namespace, "one", "remote-1")
	s.wantNode(t, namespace, "two", "remote-2")
	s.wantLog(t, namespace, "one", "one", "two")
	s.wantLog(t, namespace, "two", "one", "two")
}
