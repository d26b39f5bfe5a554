//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/actual-kubelets/actual-kubelets/manifests"
	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

// outage is how long a control plane does not answer: longer than the lease of a
// leader, and than kube-controller-manager waits for a node.
const outage = time.Minute

// mostLines is how much akd may log during an outage or a restore: each of its
// watches a few lines, but not one per second.
const mostLines = 150

// akd outlives what happens to the control planes of its clusters: it stays, and
// afterwards both clusters agree without anybody's help.
func TestControlPlaneFaults(t *testing.T) { //nolint:tparallel // each subtest breaks the clusters for all
	env.SkipUnlessSlow(t)
	t.Parallel() // its clusters are its own
	e := env.UpAlone(t, "--local-nodes=0")
	t.Run("the local API server hangs", func(t *testing.T) { survivesOutage(t, e, 1, hang) })
	t.Run("the local API server ends, with two akds", func(t *testing.T) { survivesOutage(t, e, 2, end) })
	t.Run("the local cluster is restored", func(t *testing.T) {
		r := newRestored(t, e, "alone", "--leader-election-lease=")
		r.tells(t, localRestore(t, r), "local")
	})
	t.Run("the local cluster is restored, with the lease", func(t *testing.T) {
		localRestore(t, newRestored(t, e, "leader")) // whose caches are new as soon as it leads again
	})
	t.Run("the remote cluster is restored", func(t *testing.T) {
		r := newRestored(t, e, "remote-restore")
		r.tells(t, remoteRestore(t, r), "remote")
	})
}

// hang keeps the connections to the local API server, which does not answer.
func hang(t *testing.T, e *env.Env) (over func()) {
	t.Helper()
	return e.Freeze(t, "local-kube-apiserver")
}

// end refuses connections.
func end(t *testing.T, e *env.Env) (over func()) {
	t.Helper()
	e.Kill(t, "local-kube-apiserver")
	return func() { e.Repair(t) }
}

// survivesOutage checks that akds of one node stop their work while the local API
// server does not answer, and continue it afterwards with the same remote pods.
func survivesOutage(t *testing.T, e *env.Env, replicas int, begin func(*testing.T, *env.Env) (over func())) {
	t.Helper()
	node := e.InstallNode(t, manifests.Values{Node: fmt.Sprintf("outage-%d", replicas)}, time.Hour)
	ports := []string{env.FirstMetrics, env.SecondMetrics}[:replicas]
	akds := []*env.AKD{e.StartAKD(t, node.Name, node.Args()...)}
	if replicas > 1 {
		args := node.Args("--kubelet-api-port", "10251", "--metrics-address", "127.0.0.1:"+env.SecondMetrics)
		akds = append(akds, e.LaunchAKD(t, node.Name, args...))
		e.WaitSynced(t, env.SecondMetrics) // it stands by
	}
	namespace := e.Namespace(t, node.Name)
	remote := contract.RemoteNamespace(node.Name, namespace)
	e.Apply(t, namespace, env.Web(node.Name, 3))
	e.WaitRollout(t, namespace, "deployment/web")
	created := recordRemotePods(t, e, remote)
	before, logged := remoteUIDs(t, e, remote), len(akds[0].LogLines(t))

	over := begin(t, e)
	began := time.Now()
	for _, port := range ports {
		e.WaitStandby(t, port)
	}
	t.Logf("no akd led %s after the outage began", time.Since(began).Round(time.Second))
	requests := e.Requests(t)
	env.Eventually(t, "the outage has lasted", func(context.Context) error {
		if time.Since(began) < outage {
			return errors.New("not yet")
		}
		return nil
	})
	for request := range e.Requests(t).Since(requests).Writes() {
		if strings.HasPrefix(request, "remote ") {
			t.Errorf("%s during the outage: want no write without the lease", request)
		}
	}
	ends := time.Now()
	over()
	back := time.Now()
	akds[0].WaitReadySince(t, ends)
	t.Logf("the node was Ready %s after the outage", time.Since(back).Round(time.Second))

	e.Kubectl(t, "local", "scale", "deployment/web", "-n", namespace, "--replicas=5")
	e.WaitRollout(t, namespace, "deployment/web")
	exactlyOnce(t, e, namespace, remote)
	after := remoteUIDs(t, e, remote)
	for pod, uid := range before {
		if after[pod] != uid {
			t.Errorf("remote pod %s was %s, now it is %s: want the same", pod, uid, after[pod])
		}
	}
	neverTwice(t, created())
	akds[0].WaitReadySince(t, ends)
	for i, akd := range akds {
		stays(t, akd)
		t.Logf("akd %d of %d leads: %t", i+1, replicas, leads(t, e, ports[i]))
	}
	noStorm(t, akds[0], logged)
}

func leads(t *testing.T, e *env.Env, port string) bool {
	t.Helper()
	leads, err := e.Leads(t.Context(), port)
	if err != nil {
		t.Error(err)
	}
	return leads
}

func stays(t *testing.T, akd *env.AKD) {
	t.Helper()
	if akd.HasExited() {
		t.Error("akd has ended")
	}
}

// noStorm checks how much akd has logged since it had logged so many lines.
func noStorm(t *testing.T, akd *env.AKD, logged int) {
	t.Helper()
	lines := akd.LogLines(t)[logged:]
	t.Logf("akd has logged %d lines", len(lines))
	if len(lines) > mostLines {
		t.Errorf("akd has logged %d lines, want at most %d; the first:\n%s", len(lines), mostLines, strings.Join(lines[:mostLines], ""))
	}
}

// neverTwice checks that no local pod has had two remote pods.
func neverTwice(t *testing.T, created map[string][]string) {
	t.Helper()
	for local, remotes := range created {
		if len(remotes) > 1 {
			t.Errorf("local pod %s had remote pods %v: want no more than one, ever", local, remotes)
		}
	}
}

// remoteUIDs returns the UIDs of the pods of a remote namespace by name.
func remoteUIDs(t *testing.T, e *env.Env, namespace string) map[string]types.UID {
	t.Helper()
	list, err := e.Remote.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]types.UID{}
	for _, pod := range list.Items {
		found[pod.Name] = pod.UID
	}
	return found
}

// restored is a node whose clusters go back in time, one after the other.
type restored struct {
	*env.Env
	node      string
	akd       *env.AKD
	namespace string // has been there before
	remote    string
}

func newRestored(t *testing.T, e *env.Env, name string, args ...string) restored {
	t.Helper()
	node := e.InstallNode(t, manifests.Values{Node: name}, time.Hour)
	r := restored{Env: e, node: name, akd: e.StartAKD(t, name, node.Args(args...)...), namespace: e.Namespace(t, name)}
	r.remote = contract.RemoteNamespace(name, r.namespace)
	r.Apply(t, r.namespace, env.Web(name, 3))
	r.WaitRollout(t, r.namespace, "deployment/web")
	return r
}

// run creates an idle pod on the node and waits until it is ready.
func (r restored) run(t *testing.T, namespace, name string) {
	t.Helper()
	r.create(t, namespace, name, nil)
	r.WaitReady(t, namespace, name)
}

func (r restored) create(t *testing.T, namespace, name string, gates []corev1.PodSchedulingGate) {
	t.Helper()
	pod := env.IdlePod(name)
	pod.Spec.NodeSelector = map[string]string{corev1.LabelHostname: r.node}
	pod.Spec.SchedulingGates = gates
	if _, err := r.Local.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (r restored) ungate(t *testing.T, name string) {
	t.Helper()
	r.Kubectl(t, "local", "patch", "pod", name, "-n", r.namespace, "--type=json", "-p", `[{"op": "remove", "path": "/spec/schedulingGates"}]`)
	r.WaitReady(t, r.namespace, name)
}

// waitGone waits until a remote pod of that name and UID does not exist.
func (r restored) waitGone(t *testing.T, namespace, name string, uid types.UID) {
	t.Helper()
	env.Eventually(t, "remote pod "+name+" is gone", func(ctx context.Context) error {
		found, err := r.Remote.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && found.UID != uid {
			return nil
		}
		return cmp.Or(err, errors.New("it still exists"))
	})
}

// waitFailed waits until a local pod has failed because its remote pod is gone.
func (r restored) waitFailed(t *testing.T, namespace, name string) {
	t.Helper()
	r.Pod(namespace, name).Eventually(t, "pod "+name+" has failed", func(pod *corev1.Pod) error {
		for _, condition := range pod.Status.Conditions {
			if condition.Reason == translate.ReasonRemotePodDeleted && pod.Status.Phase == corev1.PodFailed {
				return nil
			}
		}
		return fmt.Errorf("phase %s, reason %q", pod.Status.Phase, pod.Status.Reason)
	})
}

// tells checks that akd has noticed once, since it had logged so many lines, that
// this cluster has gone back, and the other one has not.
func (r restored) tells(t *testing.T, logged int, side string) {
	t.Helper()
	noticed := map[string]int{}
	for _, line := range r.akd.LogLines(t)[logged:] {
		if strings.Contains(line, "gone back in time") {
			for _, side := range []string{"local", "remote"} {
				if strings.Contains(line, "cluster="+side) || strings.Contains(line, `"cluster":"`+side+`"`) {
					noticed[side]++
				}
			}
		}
	}
	if want := map[string]int{side: 1}; !maps.Equal(noticed, want) {
		t.Errorf("akd has noticed restores %v, want %v", noticed, want)
	}
}

// revisions is how far a cluster has come before pods change in the time that it
// loses: further than the restart of its components takes it afterwards.
const revisions = 2000

// After the local cluster has been restored, pods that it does not know any more
// stop, pods whose deletion it has forgotten fail, and all others keep running. It
// returns how many lines akd had logged before.
func localRestore(t *testing.T, r restored) (logged int) {
	t.Helper()
	r.run(t, r.namespace, "deleted")
	r.create(t, r.namespace, "scheduled", []corev1.PodSchedulingGate{{Name: "example.com/later"}})
	stop := watchForTwins(t, r.Env, r.remote)
	backup := r.BackUp(t, "local")

	lostNamespace := r.node + "-lost"
	r.PassRevisions(t, "local", revisions)
	r.Kubectl(t, "local", "delete", "pod", "deleted", "-n", r.namespace)
	r.run(t, r.namespace, "created")
	r.ungate(t, "scheduled")
	r.Kubectl(t, "local", "create", "namespace", lostNamespace)
	r.run(t, lostNamespace, "created")
	before, lost := remoteUIDs(t, r.Env, r.remote), remoteUIDs(t, r.Env, contract.RemoteNamespace(r.node, lostNamespace))
	logged = len(r.akd.LogLines(t))

	began := time.Now()
	backup.Restore(t)
	back := time.Now()
	r.akd.WaitReadySince(t, began)
	r.waitFailed(t, r.namespace, "deleted")
	r.waitGone(t, r.remote, "created", before["created"])
	r.waitGone(t, r.remote, "scheduled", before["scheduled"])
	r.waitGone(t, contract.RemoteNamespace(r.node, lostNamespace), "created", lost["created"])
	t.Logf("both clusters agreed %s after the restore", time.Since(back).Round(time.Second))

	r.ungate(t, "scheduled")
	r.run(t, r.namespace, "new")
	r.run(t, r.Namespace(t, lostNamespace), "created") // as administrators do again what was lost
	r.Kubectl(t, "local", "delete", "pod", "deleted", "-n", r.namespace)
	r.Kubectl(t, "local", "scale", "deployment/web", "-n", r.namespace, "--replicas=4")
	r.WaitRollout(t, r.namespace, "deployment/web")
	stop()
	r.same(t, before, "web-")
	exactlyOnce(t, r.Env, r.namespace, r.remote)
	stays(t, r.akd)
	noStorm(t, r.akd, logged)
	return logged
}

// same checks that the remote pods of that prefix still exist.
func (r restored) same(t *testing.T, before map[string]types.UID, prefix string) {
	t.Helper()
	after := remoteUIDs(t, r.Env, r.remote)
	for name, uid := range before {
		if strings.HasPrefix(name, prefix) && after[name] != uid {
			t.Errorf("remote pod %s was %s, now it is %q: want the same", name, uid, after[name])
		}
	}
}

// After the remote cluster has been restored, pods that it does not know any more
// fail and are replaced by their controllers, and what it has forgotten to delete
// is deleted again. It returns how many lines akd had logged before.
func remoteRestore(t *testing.T, r restored) (logged int) {
	t.Helper()
	r.run(t, r.namespace, "deleted")
	earlier := recordRemotePods(t, r.Env, r.remote)
	before := remoteUIDs(t, r.Env, r.remote)
	backup := r.BackUp(t, "remote")

	lostNamespace := r.node + "-lost"
	r.PassRevisions(t, "remote", revisions)
	r.Kubectl(t, "local", "delete", "pod", "deleted", "-n", r.namespace)
	r.run(t, r.namespace, "created")
	r.Kubectl(t, "local", "scale", "deployment/web", "-n", r.namespace, "--replicas=4")
	r.WaitRollout(t, r.namespace, "deployment/web")
	r.run(t, r.Namespace(t, lostNamespace), "created")
	replica := "" // of the Deployment, created in the lost time
	for name := range remoteUIDs(t, r.Env, r.remote) {
		if strings.HasPrefix(name, "web-") && before[name] == "" {
			replica = name
		}
	}
	logged = len(r.akd.LogLines(t))
	created := earlier()

	began := time.Now()
	backup.Restore(t)
	back := time.Now()
	later := recordRemotePods(t, r.Env, r.remote)
	r.akd.WaitReadySince(t, began)
	r.waitGone(t, r.remote, "deleted", before["deleted"])
	r.waitFailed(t, r.namespace, "created")
	r.waitFailed(t, r.namespace, replica)
	r.waitFailed(t, lostNamespace, "created")
	r.WaitRollout(t, r.namespace, "deployment/web")
	t.Logf("both clusters agreed %s after the restore", time.Since(back).Round(time.Second))

	r.run(t, r.namespace, "new")
	r.run(t, lostNamespace, "new")
	r.Kubectl(t, "local", "delete", "pod", "created", "-n", r.namespace)
	r.Kubectl(t, "local", "delete", "pod", "--field-selector=status.phase=Failed", "-n", r.namespace)
	r.same(t, before, "web-")
	exactlyOnce(t, r.Env, r.namespace, r.remote)
	for local, remotes := range later() {
		for _, remote := range remotes {
			if !strings.Contains(strings.Join(created[local], " "), remote) {
				created[local] = append(created[local], remote)
			}
		}
	}
	neverTwice(t, created)
	stays(t, r.akd)
	noStorm(t, r.akd, logged)
	return logged
}
