package queue

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A thousand Services wait when akd starts. A pod must not wait for all of them.
func TestFairQueue(t *testing.T) {
	type push = []Key
	many := func(kind Kind, n int) (keys []Key) {
		for i := range n {
			keys = append(keys, Key{Kind: kind, Name: fmt.Sprint(i)})
		}
		return keys
	}
	cases := map[string]struct {
		reason string
		pushed push
		want   []string
	}{
		"pods alone": {
			reason: "their order is kept", pushed: many(Pod, 3), want: []string{"pod 0", "pod 1", "pod 2"},
		},
		"services alone": {
			reason: "nothing waits for pods that are not there", pushed: many(Service, 3), want: []string{"service 0", "service 1", "service 2"},
		},
		"a pod after services": {
			reason: "it is next", pushed: append(many(Service, 3), Key{Kind: Pod, Name: "0"}),
			want: []string{"pod 0", "service 0", "service 1", "service 2"},
		},
		"a budget after pods": {
			reason: "it is not the last one", pushed: append(many(Pod, 3), Key{Kind: DisruptionBudget, Name: "0"}),
			want: []string{"pod 0", "poddisruptionbudget 0", "pod 1", "pod 2"},
		},
		"taking turns": {
			reason: "services go on while pods come", pushed: append(many(EndpointSlice, 2), append(many(Secret, 1), many(Pod, 3)...)...),
			want: []string{"secret 0", "endpointslice 0", "pod 0", "endpointslice 1", "pod 1", "pod 2"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := &fairQueue{}
			for _, k := range tc.pushed {
				l.Push(k)
			}
			var got []string
			for l.Len() > 0 {
				k := l.Pop()
				got = append(got, string(k.Kind)+" "+k.Name)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// A key that is pushed between pops is neither lost nor popped twice.
func TestFairQueueInterleaved(t *testing.T) {
	l, pushed, popped := &fairQueue{}, 0, map[Key]int{}
	for round := range 500 {
		for range round % 7 {
			l.Push(Key{Kind: []Kind{Pod, Service}[pushed%2], Name: fmt.Sprint(pushed)})
			pushed++
		}
		for range min(round%5, l.Len()) {
			popped[l.Pop()]++
		}
	}
	for l.Len() > 0 {
		popped[l.Pop()]++
	}
	for k, times := range popped {
		if times != 1 {
			t.Errorf("%v was taken %d times", k, times)
		}
	}
	if len(popped) != pushed {
		t.Errorf("%d keys were pushed, and %d taken", pushed, len(popped))
	}
}
