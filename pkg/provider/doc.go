// Package provider is akd's loops and wiring, and the only writer to clusters.
//
// It owns the watches, the queue, retries, events and every write. It must not
// decide what a field becomes or which step follows: package translate does,
// and provider carries it out.
//
//	local pods (spec.nodeName=us) ──┐
//	remote pods (our namespaces) ───┼→ queue → reconcile:
//	referenced ConfigMaps/Secrets ──┘            local, remote := caches
//	                                             mirror what the pod needs
//	                                             step   := Next(local, remote)
//	                                             create / update / delete the remote pod
//	                                             patch the local status, or release the local pod
//
// Everything is level-triggered and idempotent: a reconcile that runs twice,
// late, or after a crash ends in the same state. Nothing is destroyed on the
// word of an error, of a cache that has not synced, or of a list that might
// lag; see objects, and reconciler.fail and mayDeleteOrphan.
//
// spaces.go maps namespaces; references.go watches the local objects that pods
// refer to and copies.go keeps their remote copies; bundles.go watches trust
// anchors, certificates.go asks for pods' own certificates, and tokens.go keeps
// both, and service account tokens, for each pod; events.go repeats remote
// events; admission.go decides which pods the node takes, and writes nothing;
// sweep.go holds the brake on orphans; node.go and probe.go are the node itself;
// words.go and memory.go keep akd small: cached objects share equal texts, and
// memory is given back after a burst.
package provider
