// Package translate decides, and never acts: what the remote objects of a local
// pod are called and look like, what the local pod's status says, and which step
// of the lifecycle follows.
//
// It owns the names, labels and annotations (names.go), every field of a pod
// (pod.go, volumes.go, env.go, dns.go, and the ledger of all decisions in
// ledger.go), the ConfigMaps, Secrets and tokens that a pod needs (needs.go), the
// lifecycle table (next.go), in-place updates (update.go, record.go), the merged
// status (status.go, conditions.go, text.go) and events (events.go).
//
// It must not touch client-go, a context, a clock, a log or the environment:
// time is passed in, errors are returned, arguments are never changed.
//
//	                 Pod, Update, ConfigMap, Secret, TokenSecret
//	local objects  ──────────────────────────────────────────────▶  remote objects
//	               ◀──────────────────────────────────────────────
//	                 Status, FailedStatus, PendingStatus, Event
//
//	Next(local, remote) says which of them is due.
package translate
