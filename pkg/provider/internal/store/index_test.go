package store

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// byNode returns an index of pods by their nodes, and the store.
func byNode() (*Store[*corev1.Pod], *Index[*corev1.Pod, string]) {
	pods := New(Handlers[*corev1.Pod]{})
	index := NewIndex(pods, func(pod *corev1.Pod) []string {
		if pod.Spec.NodeName == "" {
			return nil
		}
		return []string{pod.Spec.NodeName}
	})
	return pods, index
}

func onNode(name, version, node string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: version}, Spec: corev1.PodSpec{NodeName: node}}
}

func namesOf(pods []*corev1.Pod) []string {
	var names []string
	for _, pod := range pods {
		names = append(names, pod.Name)
	}
	slices.Sort(names)
	return names
}

func TestIndex(t *testing.T) {
	t.Parallel()
	pods, index := byNode()
	pods.Put(onNode("a", "1", "x"))
	pods.Put(onNode("b", "2", "x"))
	pods.Put(onNode("c", "3", "y"))
	pods.Put(onNode("d", "4", ""))
	pods.Put(onNode("b", "5", "y"))
	if err := pods.Delete(onNode("c", "6", "y")); err != nil {
		t.Fatal(err)
	}
	for node, want := range map[string][]string{"x": {"a"}, "y": {"b"}, "": nil, "z": nil} {
		if diff := cmp.Diff(want, namesOf(index.Get(node))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", node, diff)
		}
	}
}

// A state that is older than what the store has changes nothing, and what is gone is forgotten.
func TestIndexLateChange(t *testing.T) {
	t.Parallel()
	pods, index := byNode()
	old := onNode("a", "1", "x")
	pods.Put(old)
	pods.Put(onNode("a", "2", "y"))
	pods.Put(old)
	if got := namesOf(index.Get("x")); got != nil {
		t.Errorf("got %v by the former node", got)
	}
	if err := pods.Delete(onNode("a", "3", "y")); err != nil {
		t.Fatal(err)
	}
	if len(index.of) > 0 {
		t.Errorf("what is gone is remembered: %v", index.of)
	}
}

// An object that a write has removed is not found before the watch tells of it.
func TestIndexDropped(t *testing.T) {
	t.Parallel()
	pods, index := byNode()
	pods.Put(onNode("a", "1", "x"))
	pods.Drop(onNode("a", "1", "x"))
	if got := namesOf(index.Get("x")); got != nil {
		t.Errorf("got %v", got)
	}
}
