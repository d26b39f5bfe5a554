package namespaces

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"

	"github.com/actual-kubelets/actual-kubelets/pkg/contract"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/cluster"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/queue"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/internal/store"
	"github.com/actual-kubelets/actual-kubelets/pkg/provider/translate"
)

// noQueue drops all keys.
type noQueue struct{}

func (noQueue) Add(queue.Key) {}

func (noQueue) AddAfter(queue.Key, time.Duration) {}

// unused returns an opener with two open namespaces that no pod uses, and what it logs.
func unused(client *fake.Clientset) (*Opener, *bytes.Buffer) {
	who, log := contract.Owner{Node: "vk", ClusterUID: "here"}, &bytes.Buffer{}
	o := NewOpener(OpenerConfig{
		Mapper:     &translate.Mapper{Owner: who},
		Remote:     cluster.NewRemote(client, who),
		Namespaces: NewSet(clock.RealClock{}),
		Queue:      noQueue{},
		Interner:   store.NewInterner(),
		Keys:       func(string) []queue.Key { return nil },
		Logger:     slog.New(slog.NewTextHandler(log, nil)),
	})
	for _, local := range []string{"a", "b"} {
		remote := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vk-" + local, UID: types.UID("uid-" + local)}}
		opened := o.newRemoteNamespace(remote, local)
		opened.end = func() {}
		o.Namespaces.add(opened)
	}
	return o, log
}

// deleted are the namespaces that were deleted.
func deleted(client *fake.Clientset) []string {
	var names []string
	for _, action := range client.Actions() {
		if deletion, is := action.(clienttesting.DeleteAction); is && action.GetResource().Resource == "namespaces" {
			names = append(names, deletion.GetName())
		}
	}
	slices.Sort(names)
	return names
}

// With a namespace goes the data of the claims in it: akd never looked for any. What keeps
// a namespace is told, and not at each look.
func TestDeleteUnusedKeepsClaims(t *testing.T) {
	t.Parallel()
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "vk-a", Name: "somebodys"}}
	denied := apierrors.NewForbidden(corev1.Resource("persistentvolumeclaims"), "", errors.New("no"))
	cases := map[string]struct {
		reason string
		answer error // to the list of claims
		want   []string
		told   []string
		fails  bool
	}{
		"Claims": {
			reason: "the namespace without claims goes", want: []string{"vk-b"},
			told: []string{"stays because of the PersistentVolumeClaims in it", "namespace=vk-a claims=1"},
		},
		"Forbidden": {
			reason: "a missing right is told once for all namespaces", answer: denied,
			told: []string{"akd may not list the PersistentVolumeClaims", "run kubectl actual install again"},
		},
		"Unknown": {reason: "an error is not an empty list", answer: apierrors.NewInternalError(errors.New("etcd")), fails: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := fake.NewClientset(claim)
			client.PrependReactor("list", "persistentvolumeclaims", func(clienttesting.Action) (bool, runtime.Object, error) {
				return tc.answer != nil, nil, tc.answer
			})
			o, log := unused(client)
			for range 3 {
				err := o.DeleteUnused(t.Context(), time.Now(), 0, func(*Namespace) bool { return false })
				if (err != nil) != tc.fails {
					t.Errorf("%s: error %v", tc.reason, err)
				}
			}
			if diff := cmp.Diff(tc.want, deleted(client)); diff != "" {
				t.Errorf("%s: deleted (-want +got):\n%s", tc.reason, diff)
			}
			if open := len(o.Namespaces.All()); open != 2-len(tc.want) {
				t.Errorf("%s: %d namespaces are open", tc.reason, open)
			}
			warnings := strings.Count(log.String(), "level=WARN")
			if want := min(len(tc.told), 1); warnings != want {
				t.Errorf("%s: %d warnings, want %d:\n%s", tc.reason, warnings, want, log)
			}
			for _, told := range tc.told {
				if !strings.Contains(log.String(), told) {
					t.Errorf("%s: the log does not say %q:\n%s", tc.reason, told, log)
				}
			}
		})
	}
}

// While akd looked for claims, a worker got the namespace to make one: the namespace is
// not deleted under it.
func TestDeleteUnusedLooksAgain(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset()
	o, _ := unused(client)
	looked := false
	client.PrependReactor("list", "persistentvolumeclaims", func(clienttesting.Action) (bool, runtime.Object, error) {
		looked = true
		return false, nil, nil
	})
	err := o.DeleteUnused(t.Context(), time.Now(), 0, func(*Namespace) bool { return looked })
	if names := deleted(client); err != nil || !looked || len(names) > 0 {
		t.Errorf("error %v, deleted %v, want none", err, names)
	}
	for _, local := range []string{"a", "b"} {
		if claimed, err := o.Namespaces.startOpening(local); o.Get(local) == nil && !claimed || err != nil {
			t.Errorf("namespace %s cannot be opened again: %t, %v", local, claimed, err)
		}
	}
}

// A deletion that had no answer may arrive as long as an API server works on a request. A
// namespace that holds claims by then is not deleted by akd's asking again.
func TestSettleDeletionKeepsClaims(t *testing.T) {
	t.Parallel()
	remote := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vk-a", UID: "uid-a"}}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "vk-a", Name: "somebodys"}}
	client := fake.NewClientset(remote, claim)
	o, _ := unused(client)
	o.Namespaces.beginDeletion(remote.UID, remote.Name)
	if err := o.settleDeletion(t.Context(), remote); !errors.Is(err, errMayVanish) {
		t.Errorf("error %v, want %v", err, errMayVanish)
	}
	if err := o.deleteAgain(t.Context(), remote.Name, remote.UID); err != nil {
		t.Error(err)
	}
	if names := deleted(client); len(names) > 0 {
		t.Errorf("deleted %v", names)
	}
}

// Only the mark tells the next akd that a deletion may still arrive: without it, none is
// requested, and a settled one is not taken for refused.
func TestDeleteMarksFirst(t *testing.T) {
	t.Parallel()
	remote := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vk-a", UID: "uid-a"}}
	client := fake.NewClientset(remote)
	refuses := true
	client.PrependReactor("create", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return refuses, nil, apierrors.NewForbidden(corev1.Resource("configmaps"), contract.DeletionMark, errors.New("quota"))
	})
	o, _ := unused(client)
	o.Namespaces.beginDeletion(remote.UID, remote.Name)
	if err := o.settleDeletion(t.Context(), remote); !apierrors.IsForbidden(err) || len(deleted(client)) > 0 {
		t.Errorf("error %v, deleted %v", err, deleted(client))
	}
	refuses = false
	if err := o.settleDeletion(t.Context(), remote); !errors.Is(err, errEnding) || len(deleted(client)) != 1 {
		t.Errorf("error %v, deleted %v", err, deleted(client))
	}
	if marked, err := o.Remote.IsMarked(t.Context(), remote.Name); err != nil || !marked {
		t.Errorf("marked %t, %v", marked, err)
	}
}

// What a former akd was about to delete is not used, unless it was used since.
func TestNoteDoomed(t *testing.T) {
	t.Parallel()
	who := contract.Owner{Node: "vk", ClusterUID: "here"}
	mark := func(labels map[string]string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "vk-a", Name: contract.DeletionMark, Labels: labels}}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "vk-a", Name: "web"}}
	denied := apierrors.NewForbidden(corev1.Resource("configmaps"), "", errors.New("no"))
	for name, tc := range map[string]struct {
		reason string
		there  []runtime.Object
		answer error // to the list of ConfigMaps
		want   bool
		fails  bool
	}{
		"Marked":    {reason: "the deletion may arrive", there: []runtime.Object{mark(who.ObjectLabels())}, want: true},
		"Used":      {reason: "somebody opened it since", there: []runtime.Object{mark(who.ObjectLabels()), pod}},
		"Foreign":   {reason: "anybody may have a ConfigMap of that name", there: []runtime.Object{mark(nil)}},
		"Forbidden": {reason: "akd could not mark it either", answer: denied},
		"Unknown":   {reason: "an error is no answer", answer: apierrors.NewInternalError(errors.New("etcd")), fails: true},
		"None":      {reason: "nobody was about to delete it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := fake.NewClientset(tc.there...)
			client.PrependReactor("list", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
				return tc.answer != nil, nil, tc.answer
			})
			o, _ := unused(client)
			o.Storage = true
			err := o.noteDoomed(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "vk-a", UID: "uid-a"}})
			if (err != nil) != tc.fails || o.Namespaces.deletes("uid-a") != tc.want {
				t.Errorf("%s: error %v, noted %t", tc.reason, err, o.Namespaces.deletes("uid-a"))
			}
		})
	}
}
