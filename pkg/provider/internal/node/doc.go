// Package node is the Node that akd is: its object, its conditions, its capacity
// and the probe that says whether the remote cluster can be relied on.
//
// It must not touch pods, and it registers nothing: cluster.Local.NodeController
// writes what it makes.
//
//	remote nodes ──sum──▶ capacity ─┐
//	Probe, credential, certificate, ├─▶ Node.Object ──notify──▶ NodeController
//	orphan guard ──▶ conditions ────┘
package node
