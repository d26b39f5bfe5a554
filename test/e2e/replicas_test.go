//go:build e2e

package e2e

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// Two akds serve one node with no other rights than the installed ones. The
// leader is killed in the middle of a scale-up: the other takes over, and every
// pod runs exactly once. At the next handover the leader ends by itself.
func TestTwoReplicas(t *testing.T) {
	e := shared
	node := e.InstallNode(t, manifests.Values{Node: "replicated"}, time.Hour)
	first := e.StartAKD(t, node.Name, node.Args()...)
	other := node.Args("--kubelet-api-port", "10251", "--metrics-address", "127.0.0.1:"+env.SecondMetrics)
	second := e.LaunchAKD(t, node.Name, other...)
	e.WaitSynced(t, env.SecondMetrics) // it stands by
	namespace := e.Namespace(t, "replicas")
	e.Apply(t, namespace, env.Web(node.Name, 0))
	e.Kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas=20")
	remote := contract.RemoteNamespace(node.Name, namespace)
	created := recordRemotePods(t, e, remote)
	env.Eventually(t, "some remote pods exist", func(ctx context.Context) error {
		list, err := e.Remote.CoreV1().Pods(remote).List(ctx, metav1.ListOptions{})
		if err == nil && len(list.Items) == 0 {
			err = errors.New("none yet")
		}
		return err
	})
	killed := time.Now()
	first.Stop(t, syscall.SIGKILL)
	e.WaitLeader(t, env.SecondMetrics)
	t.Logf("the second akd led %s after the first was killed", time.Since(killed).Round(time.Second))
	takesOverSoon(t, e, node.Name)
	e.WaitRolloutWithin(t, 5*time.Minute, namespace, "deployment/web")
	exactlyOnce(t, e, namespace, remote)

	first.Start(t)
	e.WaitSynced(t, env.FirstMetrics) // it stands by
	before := uids(t, e, namespace)
	second.Stop(t, syscall.SIGTERM)
	e.WaitLeader(t, env.FirstMetrics)
	e.Kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas=22")
	e.WaitRolloutWithin(t, 5*time.Minute, namespace, "deployment/web")
	exactlyOnce(t, e, namespace, remote)
	for pod := range strings.FieldsSeq(before) {
		if !strings.Contains(uids(t, e, namespace), pod) {
			t.Errorf("pod %s did not survive the handover", pod)
		}
	}
	for local, remotes := range created() {
		if len(remotes) > 1 {
			t.Errorf("local pod %s had remote pods %v: want no more than one, ever", local, remotes)
		}
	}
}

// takesOverSoon checks that a takeover takes less than 20 s. It depends on how long
// the lease is valid after its last renewal, and on how often the others read it,
// which is up to 2.2 times client-go's retry period.
func takesOverSoon(t *testing.T, e *env.Env, node string) {
	t.Helper()
	lease, err := e.Local.CoordinationV1().Leases(contract.SystemNamespace).Get(t.Context(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const interval = 5
	if seconds := *lease.Spec.LeaseDurationSeconds; seconds+interval >= 20 {
		t.Errorf("a lease of %d s, read every %d s: want a takeover in under 20 s", seconds, interval)
	}
}

// recordRemotePods watches a remote namespace from now on. The function that it
// returns lists the UIDs of all remote pods that have ever existed, by local UID.
func recordRemotePods(t *testing.T, e *env.Env, namespace string) func() map[string][]string {
	t.Helper()
	var mu sync.Mutex
	created := map[string][]string{}
	watchPods(t, e.Remote, namespace, func(pod *corev1.Pod) {
		mu.Lock()
		defer mu.Unlock()
		local := pod.Labels[contract.LabelUID]
		if !slices.Contains(created[local], string(pod.UID)) {
			created[local] = append(created[local], string(pod.UID))
		}
	})
	return func() map[string][]string {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(created)
	}
}

// watchPods calls record with each state of each pod of a namespace from now on, the
// last one with its deletion too, until the test ends.
func watchPods(t *testing.T, client kubernetes.Interface, namespace string, record func(*corev1.Pod)) {
	t.Helper()
	seen := func(object any) {
		if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		record(object.(*corev1.Pod))
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	if _, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: seen, UpdateFunc: func(_, next any) { seen(next) }, DeleteFunc: seen,
	}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { stop(); factory.Shutdown() })
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
}
