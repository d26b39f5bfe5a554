//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// TestStorageUnused: akd deletes unused remote namespaces after a second, but none with a
// claim, whatever its state and whoever made it (I3).
func TestStorageUnused(t *testing.T) {
	s := stored{Env: shared, node: "unused"}
	akd := s.StartStorage(t, s.node, "--unused-namespace-ttl=1s", "--leader-election-lease=")
	const retaining = "unused-retain"
	s.StorageClass(t, retaining, s.node, corev1.PersistentVolumeReclaimRetain)
	volumes := map[string]env.Volume{"waiting": {}, "bound": {}, "kept": {}, "orphan": {}, "foreign": {}}
	for state := range volumes {
		namespace, claim := s.Namespace(t, "unused-"+state), env.ClaimOf(retaining, "data")
		if state == "waiting" { // for a volume that the remote cluster cannot make
			claim = strings.Replace(claim, "ReadWriteOnce", "ReadWriteMany", 1)
		}
		s.Apply(t, namespace, claim+env.Mounting("db", "data", env.Started))
	}
	for state := range volumes {
		volumes[state] = s.bring(t, state)
	}
	empty := s.Namespace(t, "unused-empty")
	for range 2 {
		s.Apply(t, empty, env.Web(s.node, 1))
		s.WaitRollout(t, empty, "deployment/web")
		s.Kubectl(t, "local", "delete", "deployment", "web", "-n", empty)
		s.Kubectl(t, "remote", "wait", "--for=delete", "namespace/"+s.remote(empty), "--timeout=3m")
		for state, volume := range volumes {
			found, err := s.Remote.CoreV1().Namespaces().Get(t.Context(), volume.RemoteNamespace, metav1.GetOptions{})
			if err != nil || found.DeletionTimestamp != nil {
				t.Errorf("the namespace of the claim that is %s: %v, deleted at %v", state, err, found.DeletionTimestamp)
			}
			if state != "foreign" {
				volume.Remains(t)
			}
		}
		akd.Stop(t, syscall.SIGKILL) // the next one finds them as they are
		akd.Start(t)
		akd.WaitReady(t)
	}
}

// bring waits for a claim and takes it into a state without pods.
func (s stored) bring(t *testing.T, state string) env.Volume {
	t.Helper()
	namespace := "unused-" + state
	volume := s.Claim(namespace, "data").WaitBound(t)
	if state != "waiting" {
		s.WaitReady(t, namespace, "db")
	}
	s.Kubectl(t, "local", "delete", "pod", "db", "-n", namespace)
	if state == "waiting" || state == "bound" {
		return volume
	}
	s.Kubectl(t, "local", "delete", "persistentvolumeclaim", "data", "-n", namespace)
	volume.WaitPhase(t, corev1.VolumeReleased)
	if state == "kept" {
		return volume
	}
	s.Kubectl(t, "local", "delete", "persistentvolume", volume.Name, "--timeout=3m")
	if state == "foreign" {
		s.foreignClaim(t, volume.RemoteNamespace)
		s.Kubectl(t, "remote", "delete", "persistentvolumeclaim", volume.Name, "-n", volume.RemoteNamespace)
	}
	return volume
}

// foreignClaim is one that an administrator of the remote cluster makes.
func (s stored) foreignClaim(t *testing.T, namespace string) {
	t.Helper()
	_, err := s.Remote.CoreV1().PersistentVolumeClaims(namespace).Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "backup"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{
				corev1.ResourceStorage: resource.MustParse("1Mi"),
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// TestStorageForgotten: the local cluster is put back to before it had claims, as after a loss
// of its etcd. Nothing in the remote cluster goes for that (I1), and all of it can be had
// again.
func TestStorageForgotten(t *testing.T) {
	env.SkipUnlessSlow(t)
	t.Parallel() // its clusters are its own
	s := stored{Env: env.UpAlone(t, "--local-nodes=0", "--local-path"), node: "forgotten"}
	akd := s.StartStorage(t, s.node)
	backup := s.BackUp(t, "local")
	s.PassRevisions(t, "local", revisions)
	const namespace = "forgotten"
	s.Kubectl(t, "local", "create", "namespace", namespace)
	s.Apply(t, namespace, s.database(3, "Retain"))
	s.WaitRollout(t, namespace, "statefulset/db")
	volumes := map[string]env.Volume{}
	for _, claim := range []string{"data-db-0", "data-db-1", "data-db-2"} {
		volumes[claim] = s.Claim(namespace, claim).WaitBound(t)
	}

	began := time.Now()
	backup.Restore(t)
	akd.WaitReadySince(t, began)
	env.Eventually(t, "the forgotten pods have gone", func(context.Context) error {
		if left := remoteUIDs(t, s.Env, s.remote(namespace)); len(left) > 0 {
			return fmt.Errorf("there are %v", left)
		}
		return nil
	})
	for range 2 {
		for _, volume := range volumes {
			volume.Remains(t)
			s.wantState(t, volume, "orphan")
		}
		akd.Stop(t, syscall.SIGKILL) // the next one has never known of them
		akd.Start(t)
		akd.WaitReady(t)
	}
	s.Namespace(t, namespace)
	for claim, volume := range volumes {
		s.MustActual(t, "volumes", "import", volume.RemoteNamespace+"/"+volume.Name, "--remote-context=remote")
		s.Apply(t, namespace, strings.Replace(env.ClaimOf(s.node, claim), "\nspec:\n", "\nspec:\n  volumeName: "+volume.Name+"\n", 1))
	}
	s.Apply(t, namespace, s.database(3, "Retain"))
	s.WaitRollout(t, namespace, "statefulset/db")
	for _, pod := range []string{"db-0", "db-1", "db-2"} {
		s.wantLog(t, namespace, pod, pod, pod)
	}
}

// TestStorageStorm creates and deletes a claim of one name again and again while akd is
// killed. Each claim has a volume of its own, whose only marker is its own (I2), and in the
// end nothing is left.
func TestStorageStorm(t *testing.T) {
	rounds := 20
	if env.Slow() {
		rounds = 200
	}
	s := stored{Env: shared, node: "storm"}
	akd := s.StartStorage(t, s.node, "--leader-election-lease=")
	namespace := s.Namespace(t, "storm")
	stop := s.killAgainAndAgain(t, akd)
	used := map[string]bool{}
	for round := range rounds {
		s.Apply(t, namespace, env.ClaimOf(s.node, "data"))
		if rand.IntN(4) > 0 { //nolint:gosec // some claims are never used
			s.Apply(t, namespace, env.Mounting("db", "data", fmt.Sprintf("echo %d >> /data/marker; cp /data/marker /dev/termination-log", round)))
		}
		if rand.IntN(4) > 0 { //nolint:gosec // and some not for long enough
			used[s.marked(t, namespace, round)] = true
		}
		s.Kubectl(t, "local", "delete", "pod", "db", "-n", namespace, "--ignore-not-found", "--timeout=5m")
		s.Kubectl(t, "local", "delete", "persistentvolumeclaim", "data", "-n", namespace, "--timeout=5m")
	}
	delete(used, "")
	t.Logf("%d of %d claims were used, and akd was killed %d times", len(used), rounds, stop())
	s.wantNothing(t, namespace)
}

// marked waits until the pod, if there is one, has marked its volume, and checks that it was
// the first. It returns the volume's name.
func (s stored) marked(t *testing.T, namespace string, round int) (volume string) {
	t.Helper()
	env.Within(t, 2*env.Timeout, fmt.Sprintf("pod %d has ended", round), func(ctx context.Context) error {
		pod, err := s.Local.CoreV1().Pods(namespace).Get(ctx, "db", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if pod.Status.Phase != corev1.PodSucceeded {
			return fmt.Errorf("it is %s", pod.Status.Phase)
		}
		if got := pod.Status.ContainerStatuses[0].State.Terminated.Message; got != fmt.Sprintln(round) {
			t.Errorf("the volume of claim %d contains %q", round, got)
		}
		claim, err := s.Local.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, "data", metav1.GetOptions{})
		volume = claim.Spec.VolumeName
		return err
	})
	return volume
}

// killAgainAndAgain kills akd every few seconds, and starts it again, until the returned
// function is called, which returns how often.
func (s stored) killAgainAndAgain(t *testing.T, akd *env.AKD) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	kills := 0
	var killing sync.WaitGroup
	killing.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Duration(rand.IntN(10_000)) * time.Millisecond): //nolint:gosec // no secret
			}
			akd.Stop(t, syscall.SIGKILL)
			akd.Start(t)
			kills++
		}
	})
	end := sync.OnceFunc(func() { cancel(); killing.Wait() })
	t.Cleanup(end) // akd is stopped after this
	return func() int { end(); return kills }
}

// wantNothing waits until no volume of the node is left: in the local cluster, in a remote
// namespace, and on the disks of the remote nodes.
func (s stored) wantNothing(t *testing.T, namespace string) {
	t.Helper()
	env.Within(t, 2*env.Timeout, "all volumes have gone", func(ctx context.Context) error {
		local, err := s.Local.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{LabelSelector: "actual.vk/node-name=" + s.node})
		if err != nil {
			return err
		}
		claims, err := s.Remote.CoreV1().PersistentVolumeClaims(s.remote(namespace)).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		folders, err := filepath.Glob(filepath.Join(s.Dir, "remote", "nodes", "*", "local-path", "*_"+s.remote(namespace)+"_*"))
		if left := len(local.Items) + len(claims.Items) + len(folders); left > 0 {
			err = fmt.Errorf("%d local volumes, %d remote claims and %d folders are left", len(local.Items), len(claims.Items), len(folders))
		}
		return err
	})
}
