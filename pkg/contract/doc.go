// Package contract is what akd, kubectl actual and the manifests agree on: the
// labels, annotations, condition types, secret types and names of everything
// that they make, and the proof that a remote object belongs to a node.
//
// Users, policies and other programs rely on these names too. A name that was
// released does not change.
//
// It owns no behavior but names and ownership. It must not touch a cluster, and
// it imports nothing of this module.
//
//	akd ──────┐
//	          ├──▶ contract ◀── manifests, test
//	plugin ───┘
package contract
