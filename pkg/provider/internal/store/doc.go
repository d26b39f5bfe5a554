// Package store caches watched objects, and never goes back in time.
//
// It owns the reflector's store, the groups of watches that begin and end at any
// time, the repeating of requests that are forbidden for a moment, and the
// sharing of equal texts. It must not touch a typed client: what is listed and
// watched is handed in as a ListWatch. It imports nothing of this module.
//
//	ListWatch ──list, watch──▶ Store ──Change──▶ who follows it
//	a write's answer ──Put───▶   │
//	                             └──Get, In, All──▶ who decides
package store
