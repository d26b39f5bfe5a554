//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/actual-kubelets/actual-kubelets/test/e2e/env"
)

const etcdImage = "docker.io/actual-kubelets/etcd:e2e"

// TestStorageDatabase has an etcd with a member on each of three remote nodes, which lose
// their power one after another while a client writes. No write that was acknowledged is lost,
// each member has all of them, and has the volume with which it began.
func TestStorageDatabase(t *testing.T) {
	env.SkipUnlessSlow(t)
	t.Parallel() // its clusters are its own
	tools := env.BuildTools(t, "etcd")
	d := &etcd{
		stored: stored{Env: env.UpAlone(t, "--remote-nodes=3", "--local-path"), node: "database"},
		ctl:    filepath.Join(tools, "etcdctl"),
	}
	d.LoadImage(t, d.BuildImage(t, etcdImage, "--add", filepath.Join(tools, "server")+":/etcd"), "--cluster", "remote")
	d.InstallStorage(t, d.node, "--services=mirror") // members find each other by their local names
	d.namespace = d.Namespace(t, "database")
	d.Apply(t, d.namespace, fmt.Sprintf(etcdManifest, d.node))
	d.WaitRollout(t, d.namespace, "statefulset/etcd")
	machines, volumes := d.machines(t), d.volumes(t)
	if on := slices.Compact(slices.Sorted(maps.Values(machines))); len(on) != len(machines) {
		t.Fatalf("the members run on %v: want one on each remote node", machines)
	}

	client := d.write(t)
	for _, member := range slices.Sorted(maps.Keys(machines)) {
		client.waitMore(t, "all members run")
		d.Crash(t, machines[member])
		d.waitUnready(t, member)
		client.waitMore(t, member+" is lost")
		d.Repair(t)
		d.WaitRollout(t, d.namespace, "statefulset/etcd")
	}
	client.waitMore(t, "all members run again")
	acknowledged := client.stop()
	t.Logf("%d writes were acknowledged, and %d were not", len(acknowledged), client.failed)
	d.wantEverywhere(t, acknowledged)
	d.wantAgreement(t)
	if now := d.machines(t); !maps.Equal(now, machines) {
		t.Errorf("the members ran on %v, now they run on %v", machines, now)
	}
	if now := d.volumes(t); !maps.Equal(now, volumes) {
		t.Errorf("the volumes were %v, now they are %v", volumes, now)
	}
	for _, volume := range volumes {
		volume.Remains(t)
	}
}

// etcd is a cluster of etcd, in the StatefulSet of that name.
type etcd struct {
	stored

	namespace string
	ctl       string // the file of etcdctl
}

// etcdManifest is what etcd's own documentation says of static clusters. Elections take into
// account that all machines of the tests are one, which is busy.
// https://etcd.io/docs/v3.6/op-guide/clustering/#static
const etcdManifest = `
apiVersion: v1
kind: Service
metadata: {name: etcd}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {app: etcd}
  ports: [{name: client, port: 2379}, {name: peer, port: 2380}]
---
apiVersion: v1
kind: Service
metadata: {name: client}
spec:
  selector: {app: etcd}
  ports: [{name: client, port: 2379}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: etcd}
spec:
  replicas: 3
  serviceName: etcd
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: etcd}}
  template:
    metadata: {labels: {app: etcd}}
    spec:
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: DoNotSchedule
        nodeTaintsPolicy: Honor # pods may not run on the local cluster's own node
        labelSelector: {matchLabels: {app: etcd}}
      containers:
      - name: etcd
        image: actual-kubelets/etcd:e2e
        imagePullPolicy: Never
        command:
        - /etcd
        - --name=$(NAME)
        - --data-dir=/data/etcd
        - --listen-client-urls=http://0.0.0.0:2379
        - --listen-peer-urls=http://0.0.0.0:2380
        - --advertise-client-urls=http://$(NAME).etcd:2379
        - --initial-advertise-peer-urls=http://$(NAME).etcd:2380
        - --initial-cluster=etcd-0=http://etcd-0.etcd:2380,etcd-1=http://etcd-1.etcd:2380,etcd-2=http://etcd-2.etcd:2380
        - --heartbeat-interval=500
        - --election-timeout=5000
        env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        readinessProbe: {httpGet: {path: /readyz, port: 2379}, periodSeconds: 2, timeoutSeconds: 10}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {storageClassName: %s, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`

// machines are the remote nodes of the members.
func (d *etcd) machines(t *testing.T) map[string]string {
	t.Helper()
	pods, err := d.Remote.CoreV1().Pods(d.remote(d.namespace)).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	machines := map[string]string{}
	for i := range pods.Items {
		machines[pods.Items[i].Name] = pods.Items[i].Spec.NodeName
	}
	return machines
}

// volumes are those of the members' claims.
func (d *etcd) volumes(t *testing.T) map[string]env.Volume {
	t.Helper()
	volumes := map[string]env.Volume{}
	for _, member := range d.Pods(t, d.namespace) {
		volumes[member.Name] = d.Claim(d.namespace, "data-"+member.Name).WaitBound(t)
	}
	return volumes
}

// waitUnready waits until the clusters know that a member is lost.
func (d *etcd) waitUnready(t *testing.T, member string) {
	t.Helper()
	d.Pod(d.namespace, member).Eventually(t, "pod "+member+" is not ready", func(pod *corev1.Pod) error {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status != corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %+v", pod.Status.Conditions)
	})
}

// endpoints are the URLs of the members, by their own addresses.
func (d *etcd) endpoints(t *testing.T) []string {
	t.Helper()
	var urls []string
	for _, member := range d.Pods(t, d.namespace) {
		urls = append(urls, "http://"+member.Status.PodIP+":2379")
	}
	return urls
}

// etcdctl runs in the local cluster's network, as on a machine of its own.
func (d *etcd) etcdctl(ctx context.Context, endpoints []string, args ...string) (string, error) {
	args = append([]string{d.ctl, "--endpoints=" + strings.Join(endpoints, ","), "--dial-timeout=5s", "--command-timeout=10s"}, args...)
	out, err := d.ExecLocal(ctx, args...).Output()
	return string(out), err
}

// writes is a client that writes keys with rising numbers through the local Service client.
type writes struct {
	end          context.CancelFunc
	writing      sync.WaitGroup
	mu           sync.Mutex
	acknowledged []string
	failed       int
}

// write writes until the client is stopped or the test ends.
func (d *etcd) write(t *testing.T) *writes {
	t.Helper()
	service, err := d.Local.CoreV1().Services(d.namespace).Get(t.Context(), "client", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &writes{end: cancel}
	w.writing.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			key := fmt.Sprintf("key-%06d", i)
			_, err := d.etcdctl(ctx, []string{"http://" + service.Spec.ClusterIP + ":2379"}, "put", key, "of "+key)
			w.answer(key, err)
		}
	})
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *writes) answer(key string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.failed++
		return
	}
	w.acknowledged = append(w.acknowledged, key)
}

func (w *writes) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acknowledged)
}

// waitMore waits until some more writes have been acknowledged.
func (w *writes) waitMore(t *testing.T, when string) {
	t.Helper()
	const some = 50
	began, before := time.Now(), w.count()
	env.Eventually(t, "writes are acknowledged while "+when, func(context.Context) error {
		if more := w.count() - before; more < some {
			return fmt.Errorf("%d of %d", more, some)
		}
		return nil
	})
	t.Logf("%s: %d writes took %s", when, some, time.Since(began).Round(time.Millisecond))
}

// stop ends the client, and returns the keys whose writes were acknowledged.
func (w *writes) stop() []string {
	w.end()
	w.writing.Wait()
	return w.acknowledged
}

// wantEverywhere checks that each member itself has all of these keys.
func (d *etcd) wantEverywhere(t *testing.T, keys []string) {
	t.Helper()
	for _, member := range d.endpoints(t) {
		env.Eventually(t, "member "+member+" has what was acknowledged", func(ctx context.Context) error {
			out, err := d.etcdctl(ctx, []string{member}, "get", "key-", "--prefix", "--print-value-only", "--consistency=s")
			if err != nil {
				return err
			}
			has := map[string]bool{}
			for line := range strings.Lines(out) {
				has[strings.TrimPrefix(strings.TrimSpace(line), "of ")] = true
			}
			missing := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return has[key] })
			if len(missing) > 0 {
				return fmt.Errorf("%d keys are missing, such as %s", len(missing), missing[0])
			}
			return nil
		})
	}
}

// wantAgreement checks that all members have the same content.
func (d *etcd) wantAgreement(t *testing.T) {
	t.Helper()
	endpoints := d.endpoints(t)
	env.Eventually(t, "the members agree", func(ctx context.Context) error {
		out, err := d.etcdctl(ctx, endpoints, "endpoint", "hashkv", "--write-out=json")
		if err != nil {
			return err
		}
		var members []struct {
			HashKV struct {
				Hash     uint32 `json:"hash"`
				Revision int64  `json:"hash_revision"`
			}
		}
		if err := json.Unmarshal([]byte(out), &members); err != nil {
			return err
		}
		if len(members) != len(endpoints) || len(slices.Compact(members)) != 1 || members[0].HashKV.Hash == 0 {
			return errors.New(out)
		}
		t.Logf("all have the hash %d at revision %d", members[0].HashKV.Hash, members[0].HashKV.Revision)
		return nil
	})
}
