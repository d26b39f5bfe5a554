package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// percentile of the values, by the nearest rank.
func percentile(values []time.Duration, share float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(share*float64(len(sorted)))) - 1
	return sorted[max(rank, 0)]
}

// series is one figure of several rounds.
type series []float64

func (s series) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// show prints the median, and the extremes if there are several rounds.
func (s series) show(verb string) string {
	text := fmt.Sprintf(verb, s.median())
	if len(s) > 1 {
		text += fmt.Sprintf(" ("+verb+"–"+verb+")", slices.Min(s), slices.Max(s))
	}
	return text
}

// ratio compares the medians of two figures.
func ratio(a, b series) float64 { return a.median() / b.median() }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
