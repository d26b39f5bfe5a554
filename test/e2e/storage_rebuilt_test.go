//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// TestStorageRebuilt: the local cluster is lost with everything in it, and is built anew with
// another UID. An akd of the former one that still runs, and may read all that is not there,
// deletes no data (I1). The new cluster is told whose the volumes are, takes the node over,
// and gets all of them back.
func TestStorageRebuilt(t *testing.T) {
	env.SkipUnlessSlow(t)
	const retaining = "rebuilt-retain"
	s := stored{Env: env.UpAlone(t, "--local-path"), node: "rebuilt"}
	former := s.StartStorage(t, s.node, "--leader-election-lease=", "--unused-namespace-ttl=1s",
		"--local-identity=client", "--local-kubeconfig="+s.AKDKubeconfig("local"),
		"--remote-secret=", "--remote-kubeconfig="+s.AKDKubeconfig("remote"))
	s.StorageClass(t, retaining, s.node, corev1.PersistentVolumeReclaimRetain)
	const namespace = "rebuilt"
	s.Kubectl(t, "local", "create", "namespace", namespace)
	s.Apply(t, namespace, s.database(2, "Retain")+env.ClaimOf(retaining, "kept")+env.Mounting("kept", "kept", env.Started))
	s.WaitRollout(t, namespace, "statefulset/db")
	s.WaitReady(t, namespace, "kept")
	volumes := map[string]env.Volume{}
	for _, claim := range []string{"data-db-0", "data-db-1", "kept"} {
		volumes[claim] = s.Claim(namespace, claim).WaitBound(t)
	}
	s.Kubectl(t, "local", "delete", "pod/kept", "persistentvolumeclaim/kept", "-n", namespace)
	volumes["kept"].WaitPhase(t, corev1.VolumeReleased)

	s.Wipe(t, "local")
	env.Eventually(t, "the former akd has seen that no pod is left", func(context.Context) error {
		// It stops where more than half of all pods would go.
		if left := remoteUIDs(t, s.Env, s.remote(namespace)); len(left) > 1 {
			return fmt.Errorf("there are %v", left)
		}
		return nil
	})
	for _, volume := range volumes {
		volume.Remains(t)
	}
	former.Stop(t, syscall.SIGKILL) // with its cluster

	s.refusesForeign(t, volumes["kept"])
	s.InstallStorage(t, s.node, "--take-over")
	s.Namespace(t, namespace)
	for _, volume := range volumes {
		volume.Remains(t)
		s.wantState(t, volume, "orphan")
		claim := s.MustActual(t, "volumes", "import", volume.RemoteNamespace+"/"+volume.Name, "--remote-context=remote")
		s.Apply(t, namespace, claim)
	}
	s.Apply(t, namespace, s.database(2, "Retain")+env.Mounting("kept", "kept", env.Started))
	s.WaitRollout(t, namespace, "statefulset/db")
	s.WaitReady(t, namespace, "kept")
	for _, pod := range []string{"db-0", "db-1", "kept"} {
		s.wantLog(t, namespace, pod, pod, pod)
	}
	for claim, volume := range volumes {
		volume.Remains(t)
		if again := s.Claim(namespace, claim).WaitBound(t); again.RemoteUID != volume.RemoteUID {
			t.Errorf("claim %s has the remote claim %s, want %s", claim, again.RemoteUID, volume.RemoteUID)
		}
	}
}

// refusesForeign: before the node is taken over, its volumes are another cluster's.
func (s stored) refusesForeign(t *testing.T, volume env.Volume) {
	t.Helper()
	remote := volume.RemoteNamespace + "/" + volume.Name
	for _, args := range [][]string{
		{"volumes", s.node},
		{"volumes", "import", remote},
		{"volumes", "delete", remote, "--yes"},
	} {
		out, stderr, code := s.Actual(t, append(args, "--remote-context=remote")...)
		if code != 1 || !strings.Contains(stderr, "another local cluster") || !strings.Contains(stderr, "--take-over") {
			t.Errorf("%v: exit code %d, want 1 and how to take the node over\n%s%s", args, code, out, stderr)
		}
	}
	volume.Remains(t)
}
