// Package owner knows to which local cluster a node's name belongs in a remote
// cluster.
//
// A name belongs to the local cluster whose UID the objects of that name carry in
// the label actual.vk/cluster-uid. The package reads, and changes nothing: commands
// ask it before they apply or delete anything.
//
//	manifests ─→ names of all objects that a node can have
//	                 └─→ remote cluster ─→ Claims ─→ Refusal, or none
package owner
