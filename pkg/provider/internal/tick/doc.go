// Package tick calls a function after each interval, on a clock that the caller
// provides.
//
// It must not depend on the function, and it imports nothing from this module.
//
//	clock ──▶ Every(interval) ──▶ do
package tick
