// Package manifests is the YAML that installs a node: who akd is in each
// cluster, what it may do there, and akd itself.
//
// It owns those objects and nothing else. It must not contact a cluster: its
// caller applies the objects, in the order in which they are returned.
//
//	Values ──→ local/*.yaml  ──→ objects for the cluster that the node joins
//	       ├─→ remote/*.yaml ──→ objects for the cluster whose kubelets run the pods
//	       └─→ akd/*.yaml    ──→ akd, in one of the two; its approver, in the first
//
// The files are meant to be read: they are text/template over Values, with one
// rule per comment. All values go through quote, so that none is read as YAML.
//
// Objects of one node have the label actual.vk/node-name. In the remote cluster
// they also have the label actual.vk/cluster-uid, which Remote adds: whose node of
// that name it is. Objects that all nodes share, the namespace actual-system and
// the tenants' ClusterRoles, have neither, and are removed with the last node.
package manifests
