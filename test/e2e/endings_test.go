//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

const endingsNode = "ends"

// ending is a pod that exits with 42 when it is stopped, and that a finalizer keeps.
func ending(name string, policy corev1.RestartPolicy) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, finalizers: [example.org/hold]}
spec:
  nodeSelector: {kubernetes.io/hostname: %s}
  restartPolicy: %s
  terminationGracePeriodSeconds: 20
  containers:
  - name: main
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, 'trap "exit 42" TERM; sleep 100000 & wait $!']
---`, name, endingsNode, policy)
}

// A pod ends as on a kubelet: whoever waits for its exit code gets it, across all that
// may happen between.
func TestEndings(t *testing.T) {
	e := shared
	tenant := e.InstallTenant(t, manifests.Values{Node: endingsNode})
	akd := e.StartAKD(t, endingsNode, tenant.Args()...)
	t.Run("50 at once", func(t *testing.T) { testEndsAtOnce(t) })
	t.Run("by force", func(t *testing.T) { testEndsByForce(t) })
	t.Run("with its namespace", func(t *testing.T) { testEndsWithNamespace(t) })
	t.Run("while akd is away", func(t *testing.T) { testEndsAlone(t, akd) })
}

// startEndings creates pods that end when they are stopped, and waits until they run.
func startEndings(t *testing.T, namespace string, count int, policies ...corev1.RestartPolicy) {
	t.Helper()
	var all strings.Builder
	for n := range count {
		all.WriteString(ending(fmt.Sprintf("web-%02d", n), policies[n%len(policies)]))
	}
	applyEndings(t, namespace, all.String(), count, corev1.PodRunning)
}

// applyEndings creates so many pods and waits until each is in one of the phases; they
// are let go of when the test ends.
func applyEndings(t *testing.T, namespace, manifest string, count int, phases ...corev1.PodPhase) {
	t.Helper()
	shared.Apply(t, namespace, manifest)
	t.Cleanup(func() { letGo(t, namespace) })
	env.Within(t, 2*env.Timeout, "the pods run", func(ctx context.Context) error {
		pods, err := shared.Local.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		started := 0
		for _, pod := range pods.Items {
			if slices.Contains(phases, pod.Status.Phase) {
				started++
			}
		}
		if started < count {
			return fmt.Errorf("%d of %d do", started, count)
		}
		return nil
	})
}

// letGo takes the finalizers off the pods of a local namespace, and it is well if some
// go meanwhile.
func letGo(t *testing.T, namespace string) {
	t.Helper()
	ctx, client := context.WithoutCancel(t.Context()), shared.Local.CoreV1().Pods(namespace)
	pods, err := client.List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	for _, pod := range pods.Items {
		_, err := client.Patch(ctx, pod.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	}
}

// waitExits waits until all pods are finished, and counts their exit codes and
// reasons.
func waitExits(t *testing.T, namespace string) map[string]int {
	t.Helper()
	var exits map[string]int
	env.Within(t, 2*env.Timeout, "all pods are finished", func(ctx context.Context) error {
		pods, err := shared.Local.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		exits = map[string]int{}
		for _, pod := range pods.Items {
			if pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded {
				return fmt.Errorf("pod %s is %s", pod.Name, pod.Status.Phase)
			}
			code := "none"
			if statuses := pod.Status.ContainerStatuses; len(statuses) > 0 && statuses[0].State.Terminated != nil {
				code = fmt.Sprint(statuses[0].State.Terminated.ExitCode)
			}
			exits[strings.TrimSpace(fmt.Sprint(pod.Status.Phase, " ", code, " ", pod.Status.Reason))]++
		}
		return nil
	})
	return exits
}

func wantExits(t *testing.T, got map[string]int, want string, count int) {
	t.Helper()
	if len(got) != 1 || got[want] != count {
		t.Errorf("the pods ended as %v, want %d times %q", got, count, want)
	}
}

// waitNoRemotePods waits until the remote namespace has no pods: nothing holds them.
func waitNoRemotePods(t *testing.T, namespace string) {
	t.Helper()
	env.Eventually(t, "the remote pods are gone", func(ctx context.Context) error {
		left, err := shared.Remote.CoreV1().Pods(contract.RemoteNamespace(endingsNode, namespace)).List(ctx, metav1.ListOptions{})
		if err == nil && len(left.Items) > 0 {
			err = fmt.Errorf("%d are there, %s with finalizers %v", len(left.Items), left.Items[0].Name, left.Items[0].Finalizers)
		}
		return err
	})
}

// 50 pods that are deleted at once lost up to 6 exit codes: their last two states came
// together.
func testEndsAtOnce(t *testing.T) {
	namespace := shared.Namespace(t, "ends-at-once")
	const count = 50
	startEndings(t, namespace, count, corev1.RestartPolicyAlways, corev1.RestartPolicyNever)
	shared.Kubectl(t, "local", "delete", "pods", "--all", "-n", namespace, "--wait=false")
	wantExits(t, waitExits(t, namespace), "Failed 42", count)
	waitNoRemotePods(t, namespace)
}

// A remote administrator deletes pods by force.
func testEndsByForce(t *testing.T) {
	namespace := shared.Namespace(t, "ends-by-force")
	const count = 4
	startEndings(t, namespace, count, corev1.RestartPolicyNever)
	shared.Kubectl(t, "remote", "delete", "pods", "--all", "-n", contract.RemoteNamespace(endingsNode, namespace),
		"--force", "--grace-period=0", "--wait=false")
	exits := waitExits(t, namespace)
	for ended, times := range exits {
		if !strings.HasPrefix(ended, "Failed ") || !strings.HasSuffix(ended, " RemotePodDeleted") {
			t.Errorf("%d pods ended as %q", times, ended)
		}
	}
	waitNoRemotePods(t, namespace)
}

// A remote administrator deletes the namespace: its pods go first, and akd with them.
func testEndsWithNamespace(t *testing.T) {
	namespace := shared.Namespace(t, "ends-with-namespace")
	const count = 4
	startEndings(t, namespace, count, corev1.RestartPolicyNever)
	remote := contract.RemoteNamespace(endingsNode, namespace)
	before, err := shared.Remote.CoreV1().Namespaces().Get(t.Context(), remote, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	shared.Kubectl(t, "remote", "delete", "namespace", remote, "--wait=false")
	shared.Apply(t, namespace, ending("late", corev1.RestartPolicyNever)) // is refused in a namespace that is being deleted
	env.Eventually(t, "the remote namespace is gone", func(ctx context.Context) error {
		found, err := shared.Remote.CoreV1().Namespaces().Get(ctx, remote, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && found.UID != before.UID {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("its conditions are %v", found.Status.Conditions)
		}
		return err
	})
	late := shared.Pod(namespace, "late")
	late.Eventually(t, "a later pod runs", func(pod *corev1.Pod) error {
		if pod.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("it is %s: %v", pod.Status.Phase, pod.Status.Conditions)
		}
		return nil
	})
	shared.Kubectl(t, "local", "delete", "pod", "late", "-n", namespace, "--wait=false")
	exits := waitExits(t, namespace)
	if exits["Failed 42 RemotePodDeleted"] != count || exits["Failed 42"] != 1 {
		t.Errorf("the pods ended as %v", exits)
	}
}

// The pods of a Job end well while akd is dead, and a remote administrator cleans up.
func testEndsAlone(t *testing.T, akd *env.AKD) {
	namespace := shared.Namespace(t, "ends-alone")
	shared.Apply(t, namespace, fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec:
  parallelism: 10
  completions: 10
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {kubernetes.io/hostname: %s}
      containers:
      - {name: main, image: "busybox:1.36", imagePullPolicy: Never, command: [sleep, "15"]}
`, endingsNode))
	remote := contract.RemoteNamespace(endingsNode, namespace)
	phases := func(ctx context.Context, wanted corev1.PodPhase) error {
		pods, err := shared.Remote.CoreV1().Pods(remote).List(ctx, metav1.ListOptions{})
		count := 0
		for _, pod := range pods.Items {
			if pod.Status.Phase == wanted {
				count++
			}
		}
		return errors.Join(err, map[bool]error{false: fmt.Errorf("%d of 10 remote pods are %s", count, wanted)}[count == 10])
	}
	env.Eventually(t, "the remote pods run", func(ctx context.Context) error { return phases(ctx, corev1.PodRunning) })
	akd.Stop(t, syscall.SIGKILL)
	env.Eventually(t, "the remote pods are done", func(ctx context.Context) error { return phases(ctx, corev1.PodSucceeded) })
	shared.Kubectl(t, "remote", "delete", "pods", "--all", "-n", remote, "--wait=false")
	akd.Start(t)
	shared.Kubectl(t, "local", "wait", "--for=condition=Complete", "job/job", "-n", namespace, "--timeout=3m")
	waitNoRemotePods(t, namespace)
}
