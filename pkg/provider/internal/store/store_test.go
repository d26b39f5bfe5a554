package store

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func podAt(name, uid, resourceVersion string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(uid), ResourceVersion: resourceVersion}}
}

// If a cache goes back in time, akd repeats writes, or mistakes a pod that it has
// just created for a deleted one.
func TestObjectsNeverGoBack(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		steps  func(*Store[*corev1.Pod]) error
		want   map[string]string // name → resourceVersion
	}{
		"put before the watch": {
			reason: "what a write returned is known at once",
			steps:  func(o *Store[*corev1.Pod]) error { o.Put(podAt("a", "1", "5")); return nil },
			want:   map[string]string{"a": "5"},
		},
		"put after the watch saw the deletion": {
			reason: "a late answer to a write does not raise the dead",
			steps: func(o *Store[*corev1.Pod]) error {
				if err := o.Add(podAt("a", "1", "5")); err != nil {
					return err
				}
				if err := o.Delete(podAt("a", "1", "9")); err != nil {
					return err
				}
				o.Put(podAt("a", "1", "5"))
				return nil
			},
			want: map[string]string{},
		},
		"drop": {
			reason: "what a write deleted is gone at once",
			steps: func(o *Store[*corev1.Pod]) error {
				o.Put(podAt("a", "1", "5"))
				o.Put(podAt("b", "2", "6"))
				o.Drop(podAt("a", "1", "5"))
				return nil
			},
			want: map[string]string{"b": "6"},
		},
		"drop of another": {
			reason: "the successor under the name is not the deleted one",
			steps: func(o *Store[*corev1.Pod]) error {
				o.Put(podAt("a", "2", "9"))
				o.Drop(podAt("a", "1", "5"))
				return nil
			},
			want: map[string]string{"a": "9"},
		},
		"watch lags behind a put": {
			reason: "an event older than the write's answer changes nothing",
			steps: func(o *Store[*corev1.Pod]) error {
				o.Put(podAt("a", "1", "10"))
				return o.Update(podAt("a", "1", "7"))
			},
			want: map[string]string{"a": "10"},
		},
		"list older than a put": {
			reason: "a list that the write is not in yet does not remove it",
			steps: func(o *Store[*corev1.Pod]) error {
				o.Put(podAt("a", "1", "100"))
				return o.Replace([]any{podAt("b", "2", "50")}, "99")
			},
			want: map[string]string{"a": "100", "b": "50"},
		},
		"list newer than the object": {
			reason: "what a newer list lacks has gone",
			steps: func(o *Store[*corev1.Pod]) error {
				if err := o.Add(podAt("a", "1", "5")); err != nil {
					return err
				}
				return o.Replace(nil, "9")
			},
			want: map[string]string{},
		},
		"versions are numbers": {
			reason: "as text, 9 would be later than 10",
			steps: func(o *Store[*corev1.Pod]) error {
				if err := o.Add(podAt("a", "1", "9")); err != nil {
					return err
				}
				return o.Update(podAt("a", "1", "10"))
			},
			want: map[string]string{"a": "10"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := New(Handlers[*corev1.Pod]{})
			if err := tc.steps(o); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, pod := range o.All() {
				got[pod.Name] = pod.ResourceVersion
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// Only a deletion that the watch itself reported may delete a remote pod without
// another check.
func TestObjectsTellDeletionsApart(t *testing.T) {
	t.Parallel()
	var got []Change[*corev1.Pod]
	o := New(Handlers[*corev1.Pod]{Changed: func(c Change[*corev1.Pod]) { got = append(got, c) }})
	a, b := podAt("a", "1", "1"), podAt("b", "2", "2")
	if err := o.Replace([]any{a, b}, "3"); err != nil {
		t.Fatal(err)
	}
	got = nil
	if err := o.Delete(a); err != nil {
		t.Fatal(err)
	}
	if err := o.Replace(nil, "9"); err != nil {
		t.Fatal(err)
	}
	want := []Change[*corev1.Pod]{{Old: a, Watched: true}, {Old: b}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Change[*corev1.Pod]{})); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// The last MODIFIED and the DELETED of a pod came together, and what the latter said
// was lost: it is known before any reader misses the object, and a list has no last
// state.
func TestObjectsTellLastState(t *testing.T) {
	t.Parallel()
	var got []string
	var o *Store[*corev1.Pod]
	o = New(Handlers[*corev1.Pod]{
		Trim: func(pod *corev1.Pod) { pod.Spec = corev1.PodSpec{} },
		Last: func(pod *corev1.Pod) {
			if o.Get(pod.Namespace, pod.Name) == nil {
				t.Error("a reader misses the pod, and does not know its last state")
			}
			got = append(got, pod.Name+"@"+pod.ResourceVersion+pod.Spec.NodeName)
		},
	})
	if err := o.Replace([]any{podAt("a", "1", "1"), podAt("b", "2", "2")}, "3"); err != nil {
		t.Fatal(err)
	}
	last := podAt("a", "1", "7")
	last.Spec.NodeName = "not trimmed"
	if err := errors.Join(o.Delete(last), o.Replace(nil, "9")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a@7"}, got); diff != "" {
		t.Errorf("last states (-want +got):\n%s", diff)
	}
}

// Each of akd's own writes comes back through the watch, and a restarted watch
// lists known objects again. Half of the changes that akd used to process were
// such echoes.
func TestObjectsTellEachStateOnce(t *testing.T) {
	t.Parallel()
	var got []string
	o := New(Handlers[*corev1.Pod]{Changed: func(c Change[*corev1.Pod]) { got = append(got, string(c.New.UID)+"@"+c.New.ResourceVersion) }})
	o.Put(podAt("a", "1", "5"))
	err := errors.Join(
		o.Update(podAt("a", "1", "5")),
		o.Replace([]any{podAt("a", "1", "5")}, "6"),
		o.Update(podAt("a", "1", "7")),
		o.Replace([]any{podAt("a", "2", "8")}, "9"),
	)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1@5", "1@7", "2@8"}, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestObjectsTellOnceWhenRead(t *testing.T) {
	t.Parallel()
	times := 0
	o := New(Handlers[*corev1.Pod]{Ready: func() { times++ }})
	for range 2 {
		if err := o.Replace(nil, "1"); err != nil {
			t.Fatal(err)
		}
	}
	if times != 1 || !o.HasSynced() {
		t.Errorf("told %d times, synced %v; want once and true", times, o.HasSynced())
	}
}
