// Package lab brings up two clusters and the network between them, repairs them,
// and takes them down without a trace.
//
// It owns the run folder, the order of steps and the meaning of "ready". Package
// cluster describes the parts of a cluster; the caller builds the programs
// (Toolchain).
//
//	Up: state ► namespaces ► per cluster: etcd, API server ─► controllers
//	                           └► containerd, images ─► kubelet ─► pod network
//	                         ► DNS ► probe pod ► ready
//
// Every step first checks whether its work is done, so that another Up repairs
// what a crash left incomplete. Down needs no state: it finds everything of a run
// by names that derive from the run folder's path.
package lab
