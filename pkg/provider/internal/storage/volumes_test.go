package storage

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/namespaces"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// queued are the keys that were queued, and how often.
type queued map[queue.Key]int

func (q queued) Add(key queue.Key) { q[key]++ }

func (q queued) AddAfter(key queue.Key, _ time.Duration) { q[key]++ }

// newVolumes returns a Volumes with the classes standard, of AK, and other, and what it queues.
func newVolumes() (*Volumes, queued) {
	keys := queued{}
	remote := cluster.NewRemote(fake.NewClientset(), contract.Owner{Node: "vk", ClusterUID: "here"})
	v := New(Config{
		Enabled: true, Mapper: &translate.Mapper{Owner: contract.Owner{Node: "vk", ClusterUID: "here"}}, Remote: remote,
		Opener: namespaces.NewOpener(namespaces.OpenerConfig{Remote: remote, Namespaces: namespaces.NewSet(clock.RealClock{})}),
		Pods:   store.New(store.Handlers[*corev1.Pod]{}), Queue: keys, Recorder: record.NewFakeRecorder(0), Clock: clock.RealClock{},
	})
	for name, provisioner := range map[string]string{"standard": contract.StorageDriver, "other": "disks.example.org"} {
		v.classes.Put(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: "1"}, Provisioner: provisioner})
	}
	clear(keys)
	return v, keys
}

func claim(number int, class string) *corev1.PersistentVolumeClaim {
	name := strconv.Itoa(number)
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-" + name), ResourceVersion: strconv.Itoa(number + 1)},
		Spec:       corev1.PersistentVolumeClaimSpec{StorageClassName: &class},
	}
}

// Most claims of a cluster can be of other storage: a reconcile of each would cost for nothing.
// What becomes known of a claim later queues it.
func TestForeignClaims(t *testing.T) {
	t.Parallel()
	v, keys := newVolumes()
	for number, class := range []string{"other", "unknown", "standard"} {
		v.claims.Put(claim(number, class))
	}
	if want := keyOf(claim(2, "")); len(keys) != 1 || keys[want] != 1 {
		t.Errorf("queued %v, want %v alone", keys, want)
	}
	clear(keys)
	v.classes.Put(&storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: "unknown", ResourceVersion: "2"}, Provisioner: contract.StorageDriver,
	})
	if want := keyOf(claim(1, "")); len(keys) != 1 || keys[want] != 1 {
		t.Errorf("with the class, queued %v, want %v alone", keys, want)
	}
}

// A volume stays to be looked after when the class of its claim is gone, and a pod that waits for
// a foreign claim hears of it.
func TestClaimOfKnownVolume(t *testing.T) {
	t.Parallel()
	v, keys := newVolumes()
	v.volumes.Put(&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: contract.VolumeName("uid-0"), ResourceVersion: "1"}})
	v.Pods.Put(pod(1))
	v.claims.Put(claim(0, "gone"))
	v.claims.Put(claim(1, "other"))
	if keys[keyOf(claim(0, ""))] != 1 || keys[queue.Pod.Key("shop", "1")] != 1 || len(keys) != 2 {
		t.Errorf("queued %v", keys)
	}
}

// pod returns a pod that uses the claim of that number.
func pod(number int) *corev1.Pod {
	name := strconv.Itoa(number)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("pod-" + name), ResourceVersion: strconv.Itoa(number + 1)},
		Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
		}}}},
	}
}

// BenchmarkClaims lets akd read claims of one namespace, each with a pod, and look at each volume
// once: what happens at its start. The cost of one claim must not grow with their number.
func BenchmarkClaims(b *testing.B) {
	each := map[int]float64{}
	for _, number := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(number), func(b *testing.B) {
			for b.Loop() {
				v, keys := newVolumes()
				for i := range number {
					v.Pods.Put(pod(i))
					v.claims.Put(claim(i, "standard"))
				}
				for key := range keys {
					v.local(key)
				}
			}
			each[number] = float64(b.Elapsed().Nanoseconds()) / float64(b.N*number)
			b.ReportMetric(each[number], "ns/claim")
			if each[1_000] > 0 {
				b.ReportMetric(each[number]/each[1_000], "×1000")
			}
		})
	}
}
