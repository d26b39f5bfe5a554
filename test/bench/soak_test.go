package main

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What grows at first, as caches do, and then by a fixed amount, grows by that amount.
func TestSlope(t *testing.T) {
	t.Parallel()
	var s soak
	for minute := range 121 {
		heap := 10.0
		if minute > 30 {
			heap = 20 + float64(minute)/60
		}
		s.states = append(s.states, state{after: time.Duration(minute) * time.Minute, heap: heap})
	}
	got := s.slope(func(s state) float64 { return s.heap })
	if math.Abs(got-1) > 1e-9 {
		t.Errorf("grows by %f per hour, want 1", got)
	}
	if got := (soak{states: s.states[:1]}).slope(func(s state) float64 { return s.heap }); got != 0 {
		t.Errorf("one state grows by %f", got)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	log := "time=1 level=INFO msg=a\ntime=2 level=WARN msg=b\ntime=3 level=ERROR msg=c\n"
	want := []string{"time=2 level=WARN msg=b", "time=3 level=ERROR msg=c"}
	if diff := cmp.Diff(want, warnings(log)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
