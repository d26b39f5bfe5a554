//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// TestStorageWriters: pods are deleted by force while their containers still write, and their
// successors are there at once, under the same name and under another one. akd is killed
// meanwhile. No two of them ever write at once (I5).
func TestStorageWriters(t *testing.T) {
	rounds := 4
	if env.Slow() {
		rounds = 40
	}
	s := stored{Env: shared, node: "writers"}
	s.LoadWriter(t)
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
