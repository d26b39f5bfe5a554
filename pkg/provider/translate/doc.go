// Package translate makes the decisions of akd, and performs none of them: what the
// remote objects of a local pod are, what the status of the local pod is, and which
// step of the lifecycle follows.
//
// It owns every field of a pod (pod.go, keys.go, volumes.go, downward.go, env.go,
// dns.go, and the ledger of all decisions in ledger.go), the ConfigMaps, Secrets and
// tokens that a pod needs (needs.go, trust.go, podcert.go), remote namespaces and their
// limits (mapper.go, limits.go), mirrored Services (services.go) and
// PodDisruptionBudgets (budgets.go), admission (admit.go, reject.go), the lifecycle
// table (next.go), updates in place (update.go, record.go), the merged status and its
// patch (status.go, conditions.go, text.go, statuspatch.go, delay.go) and events
// (events.go). The names themselves are in package contract.
//
// It must not use client-go, a context, a clock, a log or the environment. Time is
// passed in, errors are returned, arguments are never modified.
//
//	                 Pod, Update, ConfigMap, Secret, TokenSecret
//	local objects  ──────────────────────────────────────────────▶  remote objects
//	               ◀──────────────────────────────────────────────
//	                 Status, FailedStatus, PendingStatus, Event
//
//	Next(local, remote) returns which of them comes next.
package translate
