// Command skew runs a short end-to-end test between clusters of different
// Kubernetes versions and prints who gets on with whom.
//
//	for each local version × remote version:
//	    clusters up ─→ go test ./test/e2e -run '…' ─→ clusters down
//	                        └─ passed, failed ─→ one cell of the matrix
//
// It owns the choice of versions and the matrix. What is tested is test/e2e's,
// and how the clusters run is test/clusters'.
package main
