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

// A wave that takes longer than the pace takes the place of the next ones.
func TestUntilWave(t *testing.T) {
	t.Parallel()
	for since, want := range map[time.Duration]time.Duration{
		0:                               waveEvery,
		waveEvery / 3:                   waveEvery - waveEvery/3,
		2*waveEvery + waveEvery/2:       waveEvery / 2,
		waveEvery - time.Nanosecond:     time.Nanosecond,
		waveEvery*5 + waveEvery - 2*1e9: 2 * time.Second,
	} {
		if got := untilWave(since); got != want {
			t.Errorf("untilWave(%s) = %s, want %s", since, got, want)
		}
	}
}

func TestPerPod(t *testing.T) {
	t.Parallel()
	m := &soakMeasurement{pods: 3}
	s := soak{waves: 1 << 19}
	for minute := range 61 {
		s.states = append(s.states, state{after: time.Duration(minute) * time.Minute, heap: 100 + float64(minute)})
	}
	if got := m.perPod(s); math.Abs(got-60) > 1e-6 {
		t.Errorf("%f bytes for each of 2^20 pods that took 60 MiB, want 60", got)
	}
}
