package faults

import (
	"math/rand/v2"
	"time"
)

// Streams of choices that do not depend on each other.
const (
	ofFaults = uint64(iota) << 32
	ofChurn
	ofRounds
	ofLengths
)

// choices are those about the fault of that number. A run with the same seed makes
// the same ones, whichever faults it begins with.
func choices(seed, about uint64, number int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, about+uint64(number))) //nolint:gosec // choices of a test, and small numbers
}

// kindOf returns which of so many kinds the fault of that number is. Each kind
// happens once before any happens again.
func kindOf(seed uint64, number, kinds int) int {
	return choices(seed, ofRounds, number/kinds).Perm(kinds)[number%kinds]
}

// between is a duration from least to most, in whole seconds if they are.
func between(choose *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Second*time.Duration(choose.IntN(int((most-least)/time.Second)+1))
}
