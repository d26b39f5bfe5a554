// Package e2e runs akd between two real clusters and looks at what users see.
//
// It owns the end-to-end tests and the harness that starts and stops what they
// need: the clusters of test/clusters and akd processes in the local cluster's
// network. It must not reach into akd: it sees both API servers, akd's exit
// code and its log, as an operator does.
//
//	go test ── clusters up ──► local cluster ◄── akd (a process) ──► remote cluster
//	      └──── client-go, kubectl ──┘                                    │
//	      └───────────────────────── client-go, kubectl ──────────────────┘
//
// The tests need root on Linux and carry the build tag e2e; `make test-e2e`
// builds what they need and runs them. E2E_CLUSTERS_DIR names another run
// folder for the clusters, and -keep leaves them running. Tests that take
// minutes by their nature run with E2E_SLOW=1 only, as make e2e sets it. With
// E2E_TENANT=1, which it sets too, akd has a tenant's credential in the remote
// cluster in all tests, and an administrator's otherwise.
package e2e
