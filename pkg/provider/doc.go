// Package provider is akd: it connects to both clusters, assembles the rooms
// below it, and runs them.
//
// It owns who akd is in each cluster, the leader election, and the order in which
// things start and end. It must not touch a pod: podsync does.
//
//	Run: connect ──▶ clients ──▶ assemble ──▶ akd ──▶ run
//	                                           │
//	       always: metrics, probe, credential ─┤
//	                                           └─ while it leads: kubelet API, podsync, Node
//
// The rooms under internal/ form floors; each imports only what is below it:
//
//	podsync
//	mirror   podsecret
//	namespaces          node
//	cluster   credential
//	store   queue   tick
//
// Beside them are translate, which is pure, and config, kubeletapi and metrics.
package provider
