//go:build e2e

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// TestStorageKept follows 64 MiB through everything that could end them. With the policy
// Retain they outlive their claim, their volume, their local namespace and the installation of
// the node (I7), which refuses to end with claims (I8). With Delete they go with the claim.
func TestStorageKept(t *testing.T) {
	env.SkipUnlessSlow(t)
	t.Parallel()
	const node, retaining = "keeper", "keeper-retain"
	s := stored{Env: shared, node: node}
	install := s.InstallStorage(t, node)
	s.StorageClass(t, retaining, node, corev1.PersistentVolumeReclaimRetain)
	namespace := s.Namespace(t, "keeper-first")
	const fill = "head -c 67108864 /dev/urandom > /data/large; echo filled; sleep 3600"
	s.Apply(t, namespace, env.ClaimOf(retaining, "kept")+env.Mounting("kept", "kept", fill)+
		env.ClaimOf(node, "deleted")+env.Mounting("deleted", "deleted", fill))
	s.WaitReady(t, namespace, "kept", "deleted")
	sum := s.checksum(t, namespace, "kept")
	kept, deleted := s.Claim(namespace, "kept").WaitBound(t), s.Claim(namespace, "deleted").WaitBound(t)
	folder, gone := kept.Folder(t), deleted.Folder(t)

	s.Kubectl(t, "local", "delete", "pod", "kept", "deleted", "-n", namespace)
	s.Kubectl(t, "local", "delete", "persistentvolumeclaim", "kept", "deleted", "-n", namespace)
	deleted.WaitDeleted(t)
	env.Eventually(t, "the folder of the deleted volume has gone", func(context.Context) error {
		if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
	kept.WaitPhase(t, corev1.VolumeReleased)
	s.wantState(t, kept, "kept")
	s.Kubectl(t, "local", "delete", "namespace", namespace, "--timeout=3m")
	kept.Remains(t)

	s.Kubectl(t, "local", "delete", "persistentvolume", kept.Name, "--timeout=3m")
	kept.Remains(t)
	s.wantState(t, kept, "orphan")
	s.reinstall(t, install, kept)
	kept.Remains(t)
	if got := sumOf(t, filepath.Join(folder, "large")); got != sum {
		t.Errorf("the checksum of the file was %s, now it is %s", sum, got)
	}

	// The namespace comes back under its name, and a claim in it has the data again.
	namespace = s.Namespace(t, namespace)
	s.MustActual(t, "volumes", "import", kept.RemoteNamespace+"/"+kept.Name, "--remote-context=remote")
	bound := strings.Replace(env.ClaimOf(retaining, "kept"), "\nspec:\n", "\nspec:\n  volumeName: "+kept.Name+"\n", 1)
	s.Apply(t, namespace, bound+env.Mounting("again", "kept", "sleep 3600"))
	s.WaitReady(t, namespace, "again")
	if got := s.checksum(t, namespace, "again"); got != sum {
		t.Errorf("the checksum in a pod was %s, now it is %s", sum, got)
	}
	again := s.Claim(namespace, "kept").WaitBound(t)
	if again.RemoteUID != kept.RemoteUID {
		t.Errorf("the remote claim has UID %s, want %s", again.RemoteUID, kept.RemoteUID)
	}
}

// reinstall checks that neither uninstall nor install without storage gives up data unasked,
// uninstalls the node with its data kept, and installs it again.
func (s stored) reinstall(t *testing.T, install []string, kept env.Volume) {
	t.Helper()
	without := slices.DeleteFunc(slices.Clone(install), func(arg string) bool { return strings.HasPrefix(arg, "--storage") })
	for want, args := range map[string][]string{
		"holds 1 volume": {"uninstall", s.node, "--remote-context=remote", "--force"},
		"stays on while": append(without, "--storage=none"),
	} {
		out, stderr, code := s.Actual(t, args...)
		if code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, want 1 and %q\n%s%s", args, code, want, out, stderr)
		}
		kept.Remains(t)
	}
	s.MustActual(t, "uninstall", s.node, "--remote-context=remote", "--force", "--keep-volumes")
	kept.Remains(t)
	s.MustActual(t, install...)
}

// wantState checks what the list of volumes says of one.
func (s stored) wantState(t *testing.T, volume env.Volume, state string) {
	t.Helper()
	out := s.MustActual(t, "volumes", s.node, "--remote-context=remote")
	for line := range strings.Lines(out) {
		if strings.Contains(line, volume.Name) && strings.Contains(line, state) {
			return
		}
	}
	t.Errorf("volume %s is not %s:\n%s", volume.Name, state, out)
}

// checksum is that of the large file, as a pod sees it once it is complete.
func (s stored) checksum(t *testing.T, namespace, pod string) string {
	t.Helper()
	script := fmt.Sprintf("until [ $(stat -c %%s /data/large) = %d ]; do sleep 0.2; done; sha256sum /data/large", 64<<20)
	sum, _, _ := strings.Cut(s.Pod(namespace, pod).Shell(t, script), " ")
	return sum
}

func sumOf(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
