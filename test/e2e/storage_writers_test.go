//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

const writerImage = "docker.io/actual-kubelets/writer:e2e"

// buildWriter builds the writer, which must find a second one, and loads its image.
func buildWriter(t *testing.T, e *env.Env) {
	t.Helper()
	program, dir := filepath.Join(t.TempDir(), "writer"), t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags=e2e", "-o", program, "./writer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	env.Run(t, build)
	env.Start(t, exec.CommandContext(t.Context(), program, dir))
	env.Eventually(t, "the first writer has the lock", func(context.Context) error {
		_, err := os.Stat(filepath.Join(dir, "log"))
		return err
	})
	if err := exec.CommandContext(t.Context(), program, dir).Run(); env.ExitCode(err) != 1 {
		t.Fatalf("a second writer ended with %v: the probe finds nothing", err)
	}
	e.LoadImage(t, e.BuildImage(t, writerImage, "--add", program+":/writer", "--entrypoint", "/writer,/data"), "--cluster", "remote")
}

// TestStorageWriters: pods are deleted by force while their containers still write, and their
// successors are there at once, under the same name and under another one. akd is killed
// meanwhile. No two of them ever write at once (I5).
func TestStorageWriters(t *testing.T) {
	rounds := 4
	if env.Slow() {
		rounds = 40
	}
	s := stored{Env: shared, node: "writers"}
	buildWriter(t, s.Env)
	akd := s.StartStorage(t, s.node, "--leader-election-lease=")
	namespace := s.Namespace(t, "writers")
	s.Apply(t, namespace, strings.Replace(env.ClaimOf(s.node, "data-web"), "ReadWriteOnce", "ReadWriteOncePod", 1))
	s.Apply(t, namespace, fmt.Sprintf(writers, s.node))
	s.WaitRollout(t, namespace, "statefulset/db")
	s.WaitRollout(t, namespace, "deployment/web")
	volumes := []env.Volume{s.Claim(namespace, "data-db-0").WaitBound(t), s.Claim(namespace, "data-web").WaitBound(t)}
	stop := s.killAgainAndAgain(t, akd)
	for range rounds {
		s.Kubectl(t, "local", "delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")
		s.WaitRollout(t, namespace, "statefulset/db")
		s.WaitRollout(t, namespace, "deployment/web")
	}
	t.Logf("akd was killed %d times", stop())
	for _, volume := range volumes {
		folder := volume.Folder(t)
		log, err := os.ReadFile(filepath.Join(folder, "log"))
		if starts := strings.Count(string(log), "\n"); err != nil || starts <= rounds {
			t.Errorf("%d pods have written, %v: want more than %d", starts, err, rounds)
		}
		if conflicts, err := os.ReadFile(filepath.Join(folder, "conflicts")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("pods that met another writer: %s%v", conflicts, err)
		}
	}
}

// writers are a pod whose successor has its name, and one whose successor has another one.
const writers = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - {name: main, image: actual-kubelets/writer:e2e, imagePullPolicy: Never, volumeMounts: [{name: data, mountPath: /data}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {storageClassName: %s, accessModes: [ReadWriteOnce], resources: {requests: {storage: 100Mi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - {name: main, image: actual-kubelets/writer:e2e, imagePullPolicy: Never, volumeMounts: [{name: data, mountPath: /data}]}
      volumes: [{name: data, persistentVolumeClaim: {claimName: data-web}}]
`
