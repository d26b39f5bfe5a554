//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// 200 pods end with exit codes, finalizers and grace periods of all kinds, by
// themselves or deleted, while akd is killed and its link is cut. E2E_SEED repeats a
// run's choices.
func TestEndingsUnderFaults(t *testing.T) {
	env.SkipUnlessSlow(t)
	seed := uint64(time.Now().UnixNano())
	if given, err := strconv.ParseUint(os.Getenv("E2E_SEED"), 10, 64); err == nil {
		seed = given
	}
	t.Logf("E2E_SEED=%d", seed)
	tenant := shared.InstallTenant(t, manifests.Values{Node: endingsNode})
	faults := &faults{
		rand: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // choices of a test
		akd:  shared.StartAKD(t, endingsNode, tenant.Args()...),
	}
	const waves, size = 5, 40 // as many as the remote nodes run at a time
	for wave := range waves {
		t.Run(fmt.Sprint("wave ", wave), func(t *testing.T) { testWave(t, faults, fmt.Sprint("ends-wave-", wave), size) })
	}
	t.Run("while the link is cut for long", func(t *testing.T) { testEndsCut(t, faults) })
}

// faults happen to one akd, at random.
type faults struct {
	rand *rand.Rand
	akd  *env.AKD
}

func (f *faults) between(least, most int) int { return least + f.rand.IntN(most-least+1) }

// A fated pod ends with its exit code, by itself or when it is deleted.
type fated struct {
	name  string
	code  int
	alone bool // it ends by itself
}

func testWave(t *testing.T, faults *faults, name string, size int) {
	namespace := shared.Namespace(t, name)
	local, remote := recordBothEnds(t, namespace)
	pods := make([]fated, size)
	for i := range pods {
		pods[i] = fated{name: fmt.Sprintf("p-%02d", i), code: faults.between(0, 100), alone: faults.between(0, 3) == 0}
	}
	before := faults.start(t, namespace, pods)

	faults.rand.Shuffle(size, func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
	for rest := pods; len(rest) > 0; {
		count := min(len(rest), faults.between(1, 8))
		var doomed []string
		for _, pod := range rest[:count] {
			if !pod.alone {
				doomed = append(doomed, "pod/"+pod.name)
			}
		}
		if len(doomed) > 0 {
			shared.Kubectl(t, "local", append([]string{"delete", "-n", namespace, "--wait=false"}, doomed...)...)
		}
		rest = rest[count:]
		faults.strike(t, remote)
	}
	waitExits(t, namespace)
	compareEnds(t, before, pods, local, remote)
	letGo(t, namespace)
	shared.Kubectl(t, "local", "delete", "pods", "--all", "-n", namespace, "--timeout=3m")
	waitNoRemotePods(t, namespace)
}

// start creates the pods and returns them once they run, or have ended already.
func (f *faults) start(t *testing.T, namespace string, pods []fated) []corev1.Pod {
	t.Helper()
	var all strings.Builder
	for i := range pods {
		all.WriteString(f.manifest(&pods[i]))
	}
	applyEndings(t, namespace, all.String(), len(pods), corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed)
	return shared.Pods(t, namespace)
}

func (f *faults) manifest(pod *fated) string {
	life, policy, finalizers := 100000, corev1.RestartPolicyNever, ""
	switch f.between(0, 3) {
	case 0:
		policy = corev1.RestartPolicyOnFailure
	case 1:
		policy = corev1.RestartPolicyAlways
	}
	if pod.alone {
		life, policy = f.between(5, 40), corev1.RestartPolicyNever
	}
	if f.between(0, 1) == 0 {
		finalizers = "example.org/hold"
	}
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, finalizers: [%s]}
spec:
  nodeSelector: {kubernetes.io/hostname: %s}
  restartPolicy: %s
  terminationGracePeriodSeconds: %d
  containers:
  - name: main
    image: busybox:1.36
    imagePullPolicy: Never
    command: [sh, -c, 'trap "exit %d" TERM; sleep %d & wait $!; exit %[6]d']
---`, pod.name, finalizers, endingsNode, policy, f.between(2, 15), pod.code, life)
}

// strike kills akd, cuts its link until pods have ended behind it, does both, or
// nothing.
func (f *faults) strike(t *testing.T, remote *ends) {
	t.Helper()
	fault := f.between(0, 3)
	kill, cut := fault&1 != 0, fault&2 != 0
	ended := remote.count()
	more := f.between(1, 4)
	if kill {
		f.akd.Stop(t, syscall.SIGKILL)
	}
	if cut {
		if err := shared.CutLink(); err != nil {
			t.Fatal(err)
		}
	}
	if fault != 0 {
		remote.await(t, ended+more, time.Duration(f.between(3, 20))*time.Second)
	}
	if cut {
		if err := shared.RestoreLink(); err != nil {
			t.Fatal(err)
		}
	}
	if kill {
		f.akd.Start(t)
	}
}

// ends are the last states of the pods of one namespace, by the UID of the local pod.
type ends struct {
	mu   sync.Mutex
	last map[types.UID]*corev1.Pod
}

// recordBothEnds records the ends of a local namespace's pods in both clusters.
func recordBothEnds(t *testing.T, namespace string) (local, remote *ends) {
	t.Helper()
	local = recordEnds(t, shared.Local, namespace, func(pod *corev1.Pod) types.UID { return pod.UID })
	remote = recordEnds(t, shared.Remote, contract.RemoteNamespace(endingsNode, namespace),
		func(pod *corev1.Pod) types.UID { return types.UID(pod.Labels[contract.LabelUID]) })
	return local, remote
}

func recordEnds(t *testing.T, client kubernetes.Interface, namespace string, uid func(*corev1.Pod) types.UID) *ends {
	t.Helper()
	e := &ends{last: map[types.UID]*corev1.Pod{}}
	watchPods(t, client, namespace, func(pod *corev1.Pod) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.last[uid(pod)] = pod
	})
	return e
}

func (e *ends) of(uid types.UID) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	pod := e.last[uid]
	if pod == nil {
		return "no pod"
	}
	return fmt.Sprint(pod.Status.Phase, " ", exitCode(pod))
}

// unknownEnd is what a pod gets whose end nobody awaits, and akd has not seen.
const unknownEnd = "Failed 137 ContainerStatusUnknown"

// exitCode is that of the container, with the reason if a kubelet does not know it.
func exitCode(pod *corev1.Pod) string {
	statuses := pod.Status.ContainerStatuses
	if len(statuses) == 0 || statuses[0].State.Terminated == nil {
		return "none"
	}
	ended := statuses[0].State.Terminated
	if ended.Reason == "ContainerStatusUnknown" {
		return fmt.Sprint(ended.ExitCode, " ", ended.Reason)
	}
	return fmt.Sprint(ended.ExitCode)
}

// count is the number of pods that have ended.
func (e *ends) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	count := 0
	for _, pod := range e.last {
		if exitCode(pod) != "none" {
			count++
		}
	}
	return count
}

// await waits until so many pods have ended, for a fault's time at most.
func (e *ends) await(t *testing.T, count int, most time.Duration) {
	t.Helper()
	over := time.Now().Add(most)
	env.Eventually(t, "the fault is over", func(context.Context) error {
		if e.count() < count && time.Now().Before(over) {
			return errors.New("not yet")
		}
		return nil
	})
}

// compareEnds expects that each local pod has ended as its remote pod has, if anybody
// awaits it.
func compareEnds(t *testing.T, pods []corev1.Pod, fates []fated, local, remote *ends) {
	t.Helper()
	codes := map[string]int{}
	for _, fate := range fates {
		codes[fate.name] = fate.code
	}
	own := 0
	for _, pod := range pods {
		got, want := local.of(pod.UID), remote.of(pod.UID)
		policy := pod.Spec.RestartPolicy
		awaited := policy != corev1.RestartPolicyAlways || len(pod.Finalizers) > 0
		if got != want && (awaited || got != unknownEnd) {
			t.Errorf("pod %s, restarted %s, ended as %q, its remote pod as %q", pod.Name, policy, got, want)
		}
		if strings.HasSuffix(got, fmt.Sprint(" ", codes[pod.Name])) {
			own++
		}
	}
	t.Logf("%d of %d pods ended with their own exit codes", own, len(pods))
}

// cutForLong is longer than any connection survives without an answer.
const cutForLong = 150 * time.Second

// A busy remote goes on while it cannot be reached, and its administrator cleans up.
func testEndsCut(t *testing.T, faults *faults) {
	namespace := shared.Namespace(t, "ends-cut")
	local, remote := recordBothEnds(t, namespace)
	pods := make([]fated, 20)
	for i := range pods {
		pods[i] = fated{name: fmt.Sprintf("p-%02d", i), code: i, alone: true}
	}
	before := faults.start(t, namespace, pods)
	if err := shared.CutLink(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	env.Eventually(t, "all remote pods have ended", func(context.Context) error {
		if ended := remote.count(); ended < len(pods) {
			return fmt.Errorf("%d of %d have", ended, len(pods))
		}
		return nil
	})
	shared.Kubectl(t, "remote", "delete", "pods", "--all", "-n", contract.RemoteNamespace(endingsNode, namespace), "--wait=false")
	remote.await(t, len(pods)+1, cutForLong-time.Since(began))
	if err := shared.RestoreLink(); err != nil {
		t.Fatal(err)
	}
	waitExits(t, namespace)
	compareEnds(t, before, pods, local, remote)
	waitNoRemotePods(t, namespace)
}
