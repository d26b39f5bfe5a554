// Package manifests is the YAML that installs a node: who akd is in each
// cluster, what it may do there, and akd itself.
//
// It owns those objects and nothing else. It must not talk to a cluster: who
// calls it applies what it returns, in the order in which it is returned.
//
//	Values ──→ local/*.yaml  ──→ objects for the cluster that the node joins
//	       ├─→ remote/*.yaml ──→ objects for the cluster whose kubelets run the pods
//	       └─→ akd/*.yaml    ──→ akd, in one of the two
//
// The files are meant to be read: they are text/template over Values, with one
// rule per comment. All values go through quote, so that none is read as YAML.
//
// What belongs to one node carries the label actual.vk/node-name. What all
// nodes share, the namespace actual-system and the tenants' ClusterRoles, lacks
// it, and goes with the last node.
package manifests
