// Package contract holds the names that akd, kubectl actual and the manifests
// share: the labels, annotations, condition types, Secret types and names of all
// objects that they create, and the check that a remote object belongs to a node.
//
// Users, policies and other programs rely on these names too. A released name
// never changes.
//
// It owns only names and ownership. It must not access a cluster, and it imports
// nothing from this module.
//
//	akd ──────┐
//	          ├──▶ contract ◀── manifests, test
//	plugin ───┘
package contract
