// Package podsync keeps local pods and their remote counterparts in sync: akd's
// loops.
//
// It owns the watch of local pods, their admission to the node, each step of
// the lifecycle table, statuses, events, and the guard against mass deletion of
// orphans. It must not decide the value of a field or the next step: translate
// does, and podsync carries it out. It writes through cluster, and uses mirror
// and podsecret for the objects that a pod needs.
//
//	local pods (spec.nodeName=us) ──┐
//	remote pods (our namespaces) ───┼─▶ queue ─▶ reconcile:
//	referenced ConfigMaps, Secrets ─┘              local, remote := stores
//	                                               step := Next(local, remote)   pure
//	                                               create, update or delete the remote pod
//	                                               patch the local status, or release the local pod
//
// Everything is level-triggered and idempotent: a reconcile that runs twice,
// late, or after a crash ends in the same state. Errors never trigger
// deletions, and nothing is deleted before both clusters have been read.
package podsync
