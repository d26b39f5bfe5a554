//go:build e2e

package e2e

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// optionalReferences returns a pod that refers to n ConfigMaps, none of which
// exists.
func optionalReferences(node, name string, n int) *corev1.Pod {
	pod := env.IdlePod(name)
	pod.Spec.NodeName = node
	// The managed fields of envFrom are small: an API server stores no more than 1.5
	// MiB.
	for i := range n {
		pod.Spec.Containers[0].EnvFrom = append(pod.Spec.Containers[0].EnvFrom, corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: name + "-" + strconv.Itoa(i)}, Optional: new(true),
		}})
	}
	return pod
}

// manyTokens returns a pod that mounts n different tokens.
func manyTokens(node, name string, n int) *corev1.Pod {
	pod := env.IdlePod(name)
	pod.Spec.NodeName = node
	projected := &corev1.ProjectedVolumeSource{}
	for i := range n {
		projected.Sources = append(projected.Sources, corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Audience: "a" + strconv.Itoa(i), Path: strconv.Itoa(i),
		}})
	}
	pod.Spec.Volumes = []corev1.Volume{{Name: "tokens", VolumeSource: corev1.VolumeSource{Projected: projected}}}
	return pod
}

// memory returns the size of akd's live objects and their number of goroutines,
// one of which each watch has at least.
func memory(t *testing.T, e *env.Env) (heap, goroutines float64) {
	t.Helper()
	read := func(series string) float64 {
		value, err := strconv.ParseFloat(e.Metric(t, env.FirstMetrics, series), 64)
		if err != nil {
			t.Fatalf("%s: %v", series, err)
		}
		return value
	}
	return read("go_memstats_heap_inuse_bytes"), read("go_goroutines")
}

const (
	// mostWrites is how many writes the refusals of two pods may cost: the statuses,
	// and what the test's own pods still cause.
	mostWrites = 10
	// mostHeap is by how many bytes the heap may grow while akd decodes two pods of
	// 1 MiB each, garbage included.
	mostHeap = 64 << 20
)

// untilCondition watches a pod that does not exist yet. What it returns waits until
// the pod has a condition of that type and says how long after the pod's creation
// that was seen.
func untilCondition(t *testing.T, p env.Pod, conditionType corev1.PodConditionType) func() time.Duration {
	t.Helper()
	var created time.Time
	took := make(chan time.Duration, 1)
	watchPods(t, p.Local, p.Namespace, func(pod *corev1.Pod) {
		if pod.Name != p.Name {
			return
		}
		if created.IsZero() {
			created = time.Now()
		}
		if slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == conditionType }) {
			select {
			case took <- time.Since(created):
			default: // it was seen before
			}
		}
	})
	return func() time.Duration {
		select {
		case after := <-took:
			return after
		case <-time.After(env.Timeout):
			t.Fatalf("pod %s has no condition %s", p.Name, conditionType)
		}
		return 0
	}
}

// A user with one namespace can stop neither akd nor the pods of others: a pod
// with 10,000 references made akd lose its lease and the node not ready for as
// long as the pod existed, and one with thousands of tokens made as many requests.
func TestAttackerLocalPods(t *testing.T) {
	e := shared
	const name = "limited"
	node := e.InstallNode(t, manifests.Values{Node: name}, time.Hour)
	akd := e.StartAKD(t, name, node.Args("--max-references", "200", "--max-references-per-pod", "90")...)
	attacker, victim := e.Namespace(t, "attacker"), e.Namespace(t, "victim")
	create := func(namespace string, pod *corev1.Pod) env.Pod {
		if _, err := e.Local.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		return e.Pod(namespace, pod.Name)
	}
	create(attacker, optionalReferences(name, "first", 1)).WaitReady(t) // opens the namespace
	create(victim, optionalReferences(name, "before", 1)).WaitReady(t)
	running := uids(t, e, victim)
	requests := e.Requests(t)
	heap, goroutines := memory(t, e)

	refusedSoon := func(pod *corev1.Pod, reason, text string) {
		after := untilCondition(t, e.Pod(attacker, pod.Name), contract.ConditionRemoteCreated)
		created := create(attacker, pod)
		t.Logf("pod %s was refused %s after its creation", pod.Name, after().Round(10*time.Millisecond))
		refused(t, created, reason, text)
	}
	refusedSoon(optionalReferences(name, "references", 30000), translate.ReasonTooManyReferences, "the node allows 90")
	refusedSoon(manyTokens(name, "tokens", 5000), translate.ReasonTooManyTokens, "the node allows 100")
	added := e.Requests(t).Since(requests)
	added.AtMost(t, map[string]int{
		"local watch configmaps": 0, "local list configmaps": 0, "local create serviceaccounts/token": 0, "remote create secrets": 0,
		"remote create pods": 0, "local patch pods/status": 4,
	})
	if writes := added.Writes().Total(); writes > mostWrites {
		t.Errorf("%d writes for two refusals, want at most %d: %v", writes, mostWrites, added)
	}
	nowHeap, nowGoroutines := memory(t, e)
	t.Logf("heap %.0f MiB, then %.0f; goroutines %.0f, then %.0f; requests %v",
		heap/(1<<20), nowHeap/(1<<20), goroutines, nowGoroutines, added)
	if nowGoroutines > goroutines+50 {
		t.Errorf("%.0f goroutines, %.0f before", nowGoroutines, goroutines)
	}
	if nowHeap > heap+mostHeap {
		t.Errorf("a heap of %.0f MiB, %.0f before", nowHeap/(1<<20), heap/(1<<20))
	}
	create(victim, optionalReferences(name, "beside", 1)).WaitReady(t)
	if now := uids(t, e, victim); !strings.Contains(now, running) {
		t.Errorf("the victim's pods were %s, now they are %s", running, now)
	}

	// Pods within the limit of one pod cannot take everything together.
	create(attacker, optionalReferences(name, "fills", 80)).WaitReady(t)
	waits := create(attacker, optionalReferences(name, "waits", 80))
	refused(t, waits, translate.ReasonReferencesExhausted, "no room")
	create(victim, optionalReferences(name, "honest", 10)).WaitReady(t)
	if err := e.Local.CoreV1().Pods(attacker).Delete(t.Context(), "fills", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	waits.WaitReady(t)
	if akd.HasExited() {
		t.Error("akd has ended")
	}
	if got := e.Metric(t, env.FirstMetrics, "akd_leader"); got != "1" {
		t.Errorf("akd_leader is %s", got)
	}
}
