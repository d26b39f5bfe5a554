// Package plugin is kubectl actual: one file per command.
//
// It owns what users see of nodes that akds serve. It must not import the
// provider: what it needs of akd's names is in translate and manifests.
//
//	flags ─→ access ─→ clusters ──┬→ where    pods' annotations
//	         (kubeconfigs)        ├→ status   node, deployment, lease, pods
//	                              ├→ logs     akd's
//	                              └→ version
//	                                   └→ output: a table, or kubectl's printers
//
// Results go to stdout and progress to stderr. Exit codes: 0 done, 1 failed, 2
// wrong usage, 3 unhealthy, 130 interrupted.
package plugin
