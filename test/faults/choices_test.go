package faults

import (
	"testing"
	"time"
)

// A kind that chance forgets would never be tested.
func TestEachKindOncePerRound(t *testing.T) {
	t.Parallel()
	const kinds = 7
	for round := range 20 {
		met := map[int]bool{}
		for n := range kinds {
			met[kindOf(42, round*kinds+n, kinds)] = true
		}
		if len(met) != kinds {
			t.Errorf("round %d has the kinds %v, want all %d", round, met, kinds)
		}
	}
	if a, b := kindOf(42, 30, kinds), kindOf(42, 30, kinds); a != b {
		t.Errorf("the same seed chose %d and %d", a, b)
	}
}

func TestBetween(t *testing.T) {
	t.Parallel()
	choose, met := choices(1, ofFaults, 1), map[time.Duration]bool{}
	for range 100 {
		met[between(choose, time.Second, 3*time.Second)] = true
	}
	if len(met) != 3 || !met[time.Second] || !met[3*time.Second] {
		t.Errorf("chose %v, want 1, 2 and 3 s", met)
	}
}
