// Package inspect shows what is there: kubectl actual where, status, nodes, logs
// and version.
//
// It only reads. What it says of pods is in their annotations and conditions,
// what it says of nodes in their Node, akd's Deployment, its leader election
// Lease and its metrics; no message is parsed.
//
//	arguments ─→ pods ─→ Locate ─→ Location ─→ where
//	claims ─→ storage.OfClaim ─→ storage.Volume ─→ where
//	Node, Deployment, Lease, metrics ─→ ReadNodes ─→ NodeStatus ─→ status, nodes
//	Lease, pods of akd ─→ logs, version
package inspect
