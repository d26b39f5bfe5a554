// Package queue selects the next object to reconcile and runs its reconcile.
//
// It owns the keys, their order (pods do not wait for a thousand Services), the
// back-off after failures, and the workers. It must not access a cluster or
// depend on the meaning of a key. It imports nothing from this module.
//
//	observed change ────Add──▶ fair queue ──▶ Workers ──▶ Reconcile(key)
//	                               ▲                          │
//	                               └──────── back-off ────────┘ error
package queue
