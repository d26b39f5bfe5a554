// Package node builds the Node that akd serves: its object, its conditions, its
// capacity, and the probe that reports whether the remote cluster is reliable.
//
// It must not access pods, and it does not register the Node:
// cluster.Local.NodeController writes the object that this package builds.
//
//	remote nodes ──sum──▶ capacity ─┐
//	Probe, credential, certificate, ├─▶ Node.Object ──notify──▶ NodeController
//	orphan guard ──▶ conditions ────┘
package node
