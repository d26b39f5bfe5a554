//go:build e2e

package env

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
)

// StorageClasses of the remote cluster.
const (
	// RemoteClass is the one of --local-path of test/clusters. Its volumes are folders of
	// one remote node.
	RemoteClass = "standard"
	// DriverClass is one of --csi. Its volumes are on the remote node of their first pod.
	DriverClass = "csi"
	// AnywhereClass is another one, whose volumes one remote node at a time can use, whichever
	// it is.
	AnywhereClass = "csi-anywhere"
)

// InstallStorage installs a node with storage as users do, and a StorageClass of the node's
// name. It returns the command, to be run again. When the test ends, everything of the node
// is uninstalled, with the data of its volumes.
func (e *Env) InstallStorage(t testing.TB, node string, more ...string) (install []string) {
	t.Helper()
	return e.InstallClass(t, node, RemoteClass, more...)
}

// InstallClass is InstallStorage with a StorageClass of the remote cluster.
func (e *Env) InstallClass(t testing.TB, node, class string, more ...string) (install []string) {
	t.Helper()
	install = append([]string{
		"install", node, "--remote-context=remote", "--services=none", "--image=" + e.AKDImage(t),
		"--storage=claims", "--storage-class=" + class + "=" + node,
	}, more...)
	t.Cleanup(func() {
		out, stderr, code := e.Actual(t, "uninstall", node, "--remote-context=remote", "--force", "--delete-volumes")
		if code != 0 {
			t.Errorf("uninstall: exit code %d\n%s%s", code, out, stderr)
		}
		e.dropVolumes(t, node)
	})
	e.MustActual(t, install...)
	return install
}

// StartStorage is InstallStorage for an akd that is a process of the test, which can kill
// it, with more arguments.
func (e *Env) StartStorage(t testing.TB, node string, args ...string) *AKD {
	t.Helper()
	return e.StartStorageOf(t, node, []string{RemoteClass}, args...)
}

// StartStorageOf is StartStorage with other classes of the remote cluster. That of the node's
// name stands for the first one.
func (e *Env) StartStorageOf(t testing.TB, node string, classes []string, args ...string) *AKD {
	t.Helper()
	values := manifests.Values{Node: node, Storage: manifests.Storage{Enabled: true, Classes: classes}}
	installed := e.InstallNode(t, values, time.Hour)
	e.StorageClassOf(t, classes[0], node, node, corev1.PersistentVolumeReclaimDelete)
	t.Cleanup(func() { e.dropVolumes(t, node) })
	return e.StartAKD(t, node, installed.Args(append([]string{"--config", StorageConfig(t, classes)}, args...)...)...)
}

// StorageConfig writes the configuration of an akd with storage of those remote classes.
func StorageConfig(t testing.TB, classes []string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "akd.yaml")
	config := "apiVersion: actual.vk/v1alpha1\nkind: AKDConfiguration\n" +
		"storage: {mode: claims, classes: [" + strings.Join(classes, ", ") + "]}\n"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// StorageClass creates a class of a node as an administrator of the local cluster does, until
// the test ends.
func (e *Env) StorageClass(t testing.TB, name, node string, policy corev1.PersistentVolumeReclaimPolicy) {
	t.Helper()
	e.StorageClassOf(t, RemoteClass, name, node, policy)
}

// StorageClassOf is StorageClass for another class of the remote cluster.
func (e *Env) StorageClassOf(t testing.TB, remote, name, node string, policy corev1.PersistentVolumeReclaimPolicy) {
	t.Helper()
	t.Cleanup(func() { _, _, _ = e.TryKubectl("local", nil, "delete", "storageclass", name, "--ignore-not-found") })
	e.Apply(t, metav1.NamespaceDefault, fmt.Sprintf(`
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: %[1]s}
provisioner: actual.vk
parameters: {actual.vk/remote-class: %[2]s}
volumeBindingMode: WaitForFirstConsumer
allowedTopologies: [{matchLabelExpressions: [{key: actual.vk/node-name, values: [%[3]s]}]}]
reclaimPolicy: %[4]s
allowVolumeExpansion: true
`, name, remote, node, policy))
}

// dropVolumes deletes the local volumes of a node that are left, once no akd decides about
// them.
func (e *Env) dropVolumes(t testing.TB, node string) {
	t.Helper()
	selector := contract.LabelNodeName + "=" + node
	names, _, err := e.TryKubectl("local", nil, "get", "persistentvolumes", "-l", selector, "-o", "name")
	if err != nil || names == "" {
		return
	}
	_, _, _ = e.TryKubectl("local", nil, "delete", "persistentvolumes", "-l", selector, "--wait=false")
	for name := range strings.FieldsSeq(names) {
		_, _, _ = e.TryKubectl("local", nil, "patch", name, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	}
}

// ClaimOf is a PersistentVolumeClaim of a class.
func ClaimOf(class, name string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %s}
spec:
  storageClassName: %s
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 100Mi}}
`, name, class)
}

// Started is a script that adds a line to a file of the volume at /data at each start of its
// container, and ends as soon as it is told to.
const Started = `echo "$HOSTNAME started" >> /data/log; trap exit TERM; while :; do sleep 1 & wait; done`

// Mounting is a pod with a claim at /data that runs a script. The class of the claim, not the
// pod, leads it to its node.
func Mounting(name, claim, script string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec:
  restartPolicy: OnFailure
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, %[3]q]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: %[2]s}}]
`, name, claim, script)
}
