//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// stored is a node with storage, whose StorageClass has its name.
type stored struct {
	*env.Env

	node string
}

// TestStorage shows what users do with claims on an installed node. The invariants I1 to I9
// are those of docs/storage.md.
func TestStorage(t *testing.T) { //nolint:tparallel // the subtests share the node, and are parallel among themselves
	s := stored{Env: shared, node: "stored"}
	s.InstallStorage(t, s.node)
	for name, test := range map[string]func(*testing.T){
		"StatefulSet": s.statefulSet,
		"Retention":   s.retention,
		"Deployment":  s.deployment,
		"Ephemeral":   s.ephemeral,
		"Mounts":      s.mounts,
		"Quota":       s.quota,
		"Lost":        s.lost,
		"Waiting":     s.waiting,
	} {
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // it is
			t.Parallel()
			test(t)
		})
	}
}

// remote is the remote namespace of a local one.
func (s stored) remote(namespace string) string { return contract.RemoteNamespace(s.node, namespace) }

// remoteClaims lists the remote claims of a local namespace.
func (s stored) remoteClaims(t *testing.T, namespace string) []corev1.PersistentVolumeClaim {
	t.Helper()
	list, err := s.Remote.CoreV1().PersistentVolumeClaims(s.remote(namespace)).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// database is a StatefulSet db with a claim per pod, whose pods log each of their starts.
func (s stored) database(replicas int, retention string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: %d
  serviceName: db
  podManagementPolicy: Parallel
  persistentVolumeClaimRetentionPolicy: {whenDeleted: %[2]s, whenScaled: %[2]s}
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: db
        image: busybox:1.36
        imagePullPolicy: Never
        command: [sh, -c, %[3]q]
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {storageClassName: %[4]s, accessModes: [ReadWriteOnce], resources: {requests: {storage: 100Mi}}}
`, replicas, retention, env.Started, s.node)
}

// wantLog waits until a volume has seen these starts of pods, and no others.
func (s stored) wantLog(t *testing.T, namespace, pod string, starts ...string) {
	t.Helper()
	s.wantFile(t, namespace, pod, "/data/log", strings.Join(starts, " started\n")+" started\n")
}

// wantFile waits until a pod sees that content in a file: its containers are ready before
// they have written it.
func (s stored) wantFile(t *testing.T, namespace, pod, file, want string) {
	t.Helper()
	env.Eventually(t, "pod "+pod+" has the file "+file, func(context.Context) error {
		got, stderr, err := s.TryKubectl("local", nil, "exec", "-n", namespace, pod, "--", "cat", file)
		if err != nil {
			return fmt.Errorf("%w: %s", err, stderr)
		}
		if got != want {
			return fmt.Errorf("it contains %q, not %q", got, want)
		}
		return nil
	})
}

// statefulSet: each pod finds its own data again. A bound local claim has a remote one, to
// which it is tied on both sides (I6), before a pod uses it (I5).
func (s stored) statefulSet(t *testing.T) {
	namespace := s.Namespace(t, "stored-set")
	s.Apply(t, namespace, s.database(2, "Retain"))
	s.WaitRollout(t, namespace, "statefulset/db")
	s.Kubectl(t, "local", "delete", "pods", "-l", "app=db", "-n", namespace)
	s.WaitRollout(t, namespace, "statefulset/db")
	s.wantLog(t, namespace, "db-0", "db-0", "db-0")
	s.wantLog(t, namespace, "db-1", "db-1", "db-1")

	for _, name := range []string{"data-db-0", "data-db-1"} {
		volume := s.Claim(namespace, name).WaitBound(t)
		s.Claim(namespace, name).WaitRemoteBound(t, corev1.ConditionTrue, "Bound")
		claim, err := volume.RemoteClaim(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := claim.Annotations[contract.AnnotationVolume]; got != string(volume.UID) {
			t.Errorf("remote claim %s is committed to volume %q, want %s", claim.Name, got, volume.UID)
		}
		if got := claim.Annotations[contract.AnnotationClaim]; got != name {
			t.Errorf("remote claim %s is of the claim %q, want %s", claim.Name, got, name)
		}
	}
	out := s.Kubectl(t, "local", "get", "persistentvolumeclaims", "-n", namespace)
	if rows := strings.Count(out, "Bound"); rows != 2 || strings.Count(out, "100Mi") != 2 || strings.Count(out, s.node) != 2 {
		t.Errorf("a user sees:\n%s", out)
	}
}

// retention: claims of a StatefulSet stay or go with it, as it says, and the remote claims go
// with them, but no others (I1).
func (s stored) retention(t *testing.T) {
	for _, policy := range []string{"Retain", "Delete"} {
		namespace := s.Namespace(t, "stored-"+strings.ToLower(policy))
		s.Apply(t, namespace, s.database(2, policy))
		s.WaitRollout(t, namespace, "statefulset/db")
		first, second := s.Claim(namespace, "data-db-0"), s.Claim(namespace, "data-db-1")
		kept, scaled := first.WaitBound(t), second.WaitBound(t)

		s.Kubectl(t, "local", "scale", "statefulset/db", "--replicas=1", "-n", namespace)
		s.Kubectl(t, "local", "wait", "--for=delete", "pod/db-1", "-n", namespace, "--timeout=3m")
		if policy == "Delete" {
			second.WaitGone(t)
			scaled.WaitDeleted(t)
		}
		kept.Remains(t)
		s.Kubectl(t, "local", "delete", "statefulset", "db", "-n", namespace, "--cascade=foreground")
		if policy == "Delete" {
			first.WaitGone(t)
			kept.WaitDeleted(t)
			continue
		}
		kept.Remains(t)
		scaled.Remains(t)
		s.Apply(t, namespace, s.database(2, policy))
		s.WaitRollout(t, namespace, "statefulset/db")
		s.wantLog(t, namespace, "db-0", "db-0", "db-0")
		s.wantLog(t, namespace, "db-1", "db-1", "db-1")
	}
}

// deployment: a claim outlives the pods of a Deployment, whose names differ.
func (s stored) deployment(t *testing.T) {
	namespace := s.Namespace(t, "stored-deployment")
	s.Apply(t, namespace, env.ClaimOf(s.node, "data"))
	s.Apply(t, namespace, fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: web, image: "busybox:1.36", imagePullPolicy: Never, command: [sh, -c, %q], volumeMounts: [{name: data, mountPath: /data}]}
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
`, env.Started))
	s.WaitRollout(t, namespace, "deployment/web")
	former := s.Pods(t, namespace)[0].Name
	s.Kubectl(t, "local", "rollout", "restart", "deployment/web", "-n", namespace)
	s.WaitRollout(t, namespace, "deployment/web")
	now := s.Pods(t, namespace)[0].Name
	s.wantLog(t, namespace, now, former, now)
}

// ephemeral: the claim of a generic ephemeral volume is one local and one remote claim, and
// ends with the pod.
func (s stored) ephemeral(t *testing.T) {
	namespace := s.Namespace(t, "stored-ephemeral")
	template := fmt.Sprintf("{spec: {storageClassName: %s, accessModes: [ReadWriteOnce], resources: {requests: {storage: 100Mi}}}}", s.node)
	s.Apply(t, namespace, strings.Replace(env.Mounting("scratch", "data", env.Started),
		"persistentVolumeClaim: {claimName: data}", "ephemeral: {volumeClaimTemplate: "+template+"}", 1))
	s.WaitReady(t, namespace, "scratch")
	s.wantLog(t, namespace, "scratch", "scratch")
	claim := s.Claim(namespace, "scratch-data")
	volume := claim.WaitBound(t)
	if found := s.remoteClaims(t, namespace); len(found) != 1 {
		t.Errorf("%d remote claims, want one", len(found))
	}
	pod, err := s.Remote.CoreV1().Pods(s.remote(namespace)).Get(t.Context(), "scratch", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range pod.Spec.Volumes {
		if source.Ephemeral != nil {
			t.Errorf("the remote pod has the ephemeral volume %s, with which the remote cluster makes a claim of its own", source.Name)
		}
	}
	s.Kubectl(t, "local", "delete", "pod", "scratch", "-n", namespace)
	claim.WaitGone(t)
	volume.WaitDeleted(t)
}

// mounts: a pod has parts of a claim, and another one can only read it.
func (s stored) mounts(t *testing.T) {
	namespace := s.Namespace(t, "stored-mounts")
	s.Apply(t, namespace, env.ClaimOf(s.node, "data"))
	s.Apply(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: parts}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, %q]
    volumeMounts:
    - {name: data, mountPath: /data, subPath: logs}
    - {name: data, mountPath: /whole}
    - {name: data, mountPath: /expanded, subPathExpr: of-$(POD)}
    env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
`, env.Started)+strings.Replace(env.Mounting("reader", "data", "sleep 3600"), "{claimName: data}", "{claimName: data, readOnly: true}", 1))
	s.WaitReady(t, namespace, "parts", "reader")
	s.wantFile(t, namespace, "parts", "/data/log", "parts started\n")
	s.wantFile(t, namespace, "parts", "/whole/logs/log", "parts started\n")
	s.wantFile(t, namespace, "reader", "/data/logs/log", "parts started\n")
	if got := s.Pod(namespace, "parts").Shell(t, "ls /whole"); got != "logs\nof-parts\n" {
		t.Errorf("the volume contains %q, want the folders of both parts", got)
	}
	if got := s.Pod(namespace, "reader").Shell(t, "touch /data/x 2>&1 || true"); !strings.Contains(got, "Read-only file system") {
		t.Errorf("writing to the read-only volume: %q", got)
	}
}

// quota: what the remote cluster refuses is told in its own words on the claim, and is tried
// again.
func (s stored) quota(t *testing.T) {
	namespace := s.Namespace(t, "stored-quota")
	s.Apply(t, namespace, env.Web(s.node, 1)) // opens the remote namespace
	s.WaitRollout(t, namespace, "deployment/web")
	s.Kubectl(t, "remote", "create", "quota", "no-volumes", "--hard=persistentvolumeclaims=0", "-n", s.remote(namespace))
	env.Eventually(t, "the quota is in force", func(ctx context.Context) error {
		quota, err := s.Remote.CoreV1().ResourceQuotas(s.remote(namespace)).Get(ctx, "no-volumes", metav1.GetOptions{})
		if err == nil && len(quota.Status.Hard) == 0 {
			err = errors.New("it has no status")
		}
		return err
	})
	s.Apply(t, namespace, env.ClaimOf(s.node, "data")+env.Mounting("db", "data", env.Started))
	s.Claim(namespace, "data").WaitEvent(t, "ProvisioningFailed", "exceeded quota: no-volumes")
	s.Kubectl(t, "remote", "delete", "quota", "no-volumes", "-n", s.remote(namespace))
	s.WaitReady(t, namespace, "db")
	s.Claim(namespace, "data").WaitEvent(t, "ProvisioningSucceeded", "")
}

// waiting: a local claim can be bound although the remote cluster has not made its volume
// yet: the condition says what is missing, and remote events are told.
func (s stored) waiting(t *testing.T) {
	namespace := s.Namespace(t, "stored-waiting")
	shared := strings.Replace(env.ClaimOf(s.node, "data"), "ReadWriteOnce", "ReadWriteMany", 1)
	s.Apply(t, namespace, shared+env.Mounting("db", "data", env.Started))
	claim := s.Claim(namespace, "data")
	claim.WaitEvent(t, "ProvisioningFailed", "NodePath only supports ReadWriteOnce and ReadWriteOncePod")
	claim.Eventually(t, "says that it has no remote volume", func(found *corev1.PersistentVolumeClaim) error {
		for _, condition := range found.Status.Conditions {
			if condition.Type == contract.ConditionRemoteBound && condition.Status == corev1.ConditionFalse {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %+v", found.Status.Conditions)
	})
}
