// Package build makes the programs that a cluster consists of, from Go modules.
//
// It owns the pinned versions, the cache of binaries and the Debian packages
// that cannot come from Go modules. It must not start or configure anything.
//
//	recipe ──go build──► work folder ──rename──► cache/NAME-HASH/{binaries}
//	   (one lock per recipe: two callers build it once)
//
// A recipe's folder appears in the cache whole or not at all, so that an
// interrupted build leaves nothing that a later one would trust.
package build
