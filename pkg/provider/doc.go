// Package provider is akd: it connects to both clusters, assembles the packages
// below it, and runs them.
//
// It owns akd's identity in each cluster, the leader election, and the order in
// which parts start and stop. It must not modify pods: podsync does.
//
//	Run: connect ──▶ clients ──▶ assemble ──▶ akd ──▶ run
//	                                           │
//	       always: metrics, probe, credential ─┤
//	                                           └─ while it leads: kubelet API, podsync, Node
//
// The packages under internal/ form layers; each imports only packages below
// it:
//
//	podsync
//	mirror   podsecret
//	namespaces          node
//	cluster   credential
//	store   queue   tick
//
// Beside them are translate, which is pure, and config, kubeletapi and metrics.
package provider
