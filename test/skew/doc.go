// Command skew runs a short end-to-end test between clusters of different
// Kubernetes versions and prints which pairs work.
//
//	for each local version × remote version:
//	    clusters up ─→ go test ./test/e2e -run '…' ─→ clusters down
//	                        └─ passed, failed ─→ one cell of the matrix
//
// It owns the choice of versions and the matrix. test/e2e owns the tests, and
// test/clusters the clusters.
package main
