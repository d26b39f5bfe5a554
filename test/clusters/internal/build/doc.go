// Package build makes the programs that a cluster consists of, from Go modules.
//
// It owns the pinned versions, the cache of programs and the Debian packages
// that cannot come from Go modules. It must not start or configure anything.
//
//	recipe ──go build──► CACHE/bin/NAME-HASH.work-N/ ──rename──► CACHE/bin/NAME-HASH/FILES
//	   (CACHE/bin/NAME-HASH.lock: two callers build it once)
//
// A recipe's folder appears in the cache whole or not at all, so that an
// interrupted build leaves nothing that a later one would trust. The hash is that
// of the recipe: a changed version, flag or source is built beside the old one.
//
// Builds are the same everywhere: each recipe names one module at one version,
// whose own go.mod selects all others and whose go.sum, or Go's checksum database,
// determines their contents.
package build
