// Package attacks is what a thief of a tenant's credential would write into the
// tenant's own namespaces, and by what words the policies refuse it.
//
// It owns these objects and nothing else: test/policies has the policies judge
// them without a cluster, test/e2e has a real API server refuse them.
package attacks
