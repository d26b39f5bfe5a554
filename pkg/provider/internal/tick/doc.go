// Package tick does something after each interval, on a clock that is handed in.
//
// It must not know what it does, and imports nothing of this module.
//
//	clock ──▶ Every(interval) ──▶ do
package tick
