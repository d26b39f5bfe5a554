// Package store caches watched objects. It goes back in time only with its cluster.
//
// It owns the reflector's store, the groups of watches that start and end at any
// time, the retries of requests that are forbidden for a moment, and the sharing
// of equal strings. It must not use a typed client: callers pass in a ListWatch.
// It imports nothing from this module.
//
//	ListWatch ──list, watch──▶ Store ──Change──▶ handlers
//	result of a write ─Put───▶   │
//	                             └──Get, In, All──▶ readers
package store
