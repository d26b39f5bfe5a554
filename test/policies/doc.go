// Package policies has nothing but tests: the admission policies of manifests, in
// the API server's own admission plugin, without a cluster. It is a module of its
// own because of that plugin.
//
//	manifests.Remote ─→ policies, bindings, settings ─→ plugin ValidatingAdmissionPolicy ←─ attacks, goldens
package policies
