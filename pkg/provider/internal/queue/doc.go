// Package queue says what is to be looked at next, and has it looked at.
//
// It owns the keys, their order (pods do not wait for a thousand Services), the
// back-off of what fails, and the workers. It must not touch a cluster or know
// what a key is for. It imports nothing of this module.
//
//	who sees a change ──Add──▶ fair queue ──▶ Workers ──▶ Reconcile(key)
//	                               ▲                          │
//	                               └──────── back-off ────────┘ error
package queue
