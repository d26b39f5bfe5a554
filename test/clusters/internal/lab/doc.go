// Package lab brings two clusters and the network between them up, looks after
// them, and takes them down without a trace.
//
// It owns the run folder, the order of things and what "ready" means. What a
// cluster is made of is package cluster's; how programs get built is the
// caller's (Toolchain).
//
//	Up: state ► namespaces ► per cluster: etcd, API server ─► controllers
//	                           └► containerd, images ─► kubelet ─► pod network
//	                         ► DNS ► probe pod ► ready
//
// Every step looks first whether its work is done, so Up again repairs what a
// crash left half-way. Down needs no state: everything of a run is found by
// names that derive from the run folder's path.
package lab
